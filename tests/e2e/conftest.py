"""A real Label Studio, the real backend and a real browser, started once for all these tests."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, sync_playwright

from icmformer import Predictor, load_checkpoint
from ml_backend.demo import label_studio_server, project
from ml_backend.demo.credentials import Credentials, load_or_create
from ml_backend.demo.rest_api import RestApi
from ml_backend.local_servers import backend_server, ports
from ml_backend.local_servers.child_process import ChildProcess
from tests.e2e.clickable_network import save_clickable_network
from tests.e2e.labeling_page import LabelingPage
from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[2]
LABEL_STUDIO = ROOT / ".venv-label-studio" / "bin" / "label-studio"
# pictures and logs of the last run, for people to look at
ARTEFACTS = ROOT / "artefacts" / "e2e"
IMAGES = ROOT / "ml_backend" / "demo" / "images"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
# one thread on both sides, so that test and backend add the same numbers in the same order
SAME_SUMS = {"ICMFORMER_TORCH_THREADS": "1", "ICMFORMER_DEVICE": "cpu"}


@dataclass
class RunningBackend:
    """The backend as a process of its own, which tests may stop and start again."""

    port: int
    data: Path
    log: Path
    settings: dict[str, str]
    _process: ChildProcess | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        return backend_server.url(self.port)

    def start(self) -> None:
        self._process = backend_server.start(self.data, self.port, self.log, self.settings)
        self._process.wait_until(self._is_ready, PATIENCE)

    def _is_ready(self) -> bool:
        login = self.settings.get("BASIC_AUTH_USER", ""), self.settings.get("BASIC_AUTH_PASS", "")
        try:
            return requests.get(f"{self.url}/ready", auth=login, timeout=5).ok
        except requests.RequestException:
            return False

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None


@dataclass(frozen=True)
class RunningLabelStudio:
    url: str
    api: RestApi
    login: Credentials


@pytest.fixture(scope="session")
def label_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLabelStudio]:
    if not LABEL_STUDIO.exists():
        pytest.skip("needs Label Studio: make install")
    folder = tmp_path_factory.mktemp("label-studio")
    login = load_or_create(folder / "credentials.json")
    port = ports.choose(None, 18080, "port")
    server = label_studio_server.start(
        LABEL_STUDIO, folder / "data", port, login, ARTEFACTS / "label-studio.log"
    )
    url = label_studio_server.url(port)
    yield RunningLabelStudio(url, RestApi(url, login.token), login)
    server.stop()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_clickable_network(tmp_path_factory.mktemp("weights") / "clickable.safetensors")


@pytest.fixture
def predictor(checkpoint: Path) -> Predictor:
    return Predictor(load_checkpoint(checkpoint))


@pytest.fixture(scope="session")
def start_backend(
    tmp_path_factory: pytest.TempPathFactory, checkpoint: Path
) -> Iterator[Callable[..., RunningBackend]]:
    """Start a backend with these settings on top; all of them end with the session."""
    started = []

    def start(**settings: str) -> RunningBackend:
        environment = {"ICMFORMER_CHECKPOINT": str(checkpoint), **SAME_SUMS, **settings}
        port = ports.choose(None, 19090, "port")
        log = ARTEFACTS / f"backend-{len(started)}.log"
        backend = RunningBackend(port, tmp_path_factory.mktemp("backend"), log, environment)
        started.append(backend)
        backend.start()
        return backend

    yield start
    for backend in started:
        backend.stop()


@pytest.fixture(scope="session")
def backend(start_backend: Callable[..., RunningBackend]) -> RunningBackend:
    """Knows nothing of Label Studio but what the connection brings."""
    return start_backend()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    program = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"needs a browser: one of {', '.join(BROWSERS)}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=BROWSER_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(
    browser: Browser, label_studio: RunningLabelStudio, request: pytest.FixtureRequest
) -> Iterator[LabelingPage]:
    """A fresh profile, logged in; a picture of its last state is kept."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    context.set_default_timeout(300_000)
    tab = context.new_page()
    tab.goto(f"{label_studio.url}/user/login/")
    tab.fill("input[name=email]", label_studio.login.email)
    tab.fill("input[name=password]", label_studio.login.password)
    tab.click("button[type=submit]")
    tab.wait_for_url(lambda url: "login" not in url)
    page = LabelingPage(tab, label_studio.url)
    yield page
    page.keep_picture(ARTEFACTS / f"{re.sub(r'[^a-z0-9]+', '-', request.node.name.lower())}.png")
    context.close()
    assert page.problems == []


@pytest.fixture
def new_project(
    label_studio: RunningLabelStudio, request: pytest.FixtureRequest
) -> Callable[..., int]:
    """Make a project with images and a backend in it; returns its id."""

    def make(
        backend: RunningBackend,
        *images: Path,
        labeling_config: str = project.LABELING_CONFIG,
        title: str = "",
    ) -> int:
        # Label Studio takes 50 characters
        title = title or request.node.name.removeprefix("test_")[:50]
        identifier = project.ensure(label_studio.api, title, labeling_config, images)
        project.connect(label_studio.api, identifier, backend.url)
        return identifier

    return make


@pytest.fixture(scope="session", autouse=True)
def _same_sums() -> None:
    import torch

    assert SAME_SUMS["ICMFORMER_TORCH_THREADS"] == "1"
    torch.set_num_threads(1)
