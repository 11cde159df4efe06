"""What every test runs under."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch


def pytest_configure(config: pytest.Config) -> None:
    """Let examples take their time, and share the cores among parallel test processes.

    Torch would give all of them to each, and to every program that a test starts.
    """
    hypothesis.settings.register_profile("any machine", deadline=None, print_blob=True)
    hypothesis.settings.load_profile("any machine")
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        threads = max(1, torch.get_num_threads() // workers)
        torch.set_num_threads(threads)
        os.environ["OMP_NUM_THREADS"] = str(threads)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each parallel process whole files, and all tests with Label Studio to one of them."""
    from xdist.scheduler import LoadFileScheduling

    class WholeFiles(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "tests/e2e" if file.startswith("tests/e2e/") else file

    return WholeFiles(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take long; skip what needs CUDA where there is none, and say so."""
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (not item.get_closest_marker("e2e"), item.path not in long))
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("cuda"):
                item.add_marker(pytest.mark.skip(reason="needs CUDA"))


@pytest.fixture
def versions(tmp_path: Path) -> Iterator[Any]:
    """The versions of the network in a fresh folder: none yet."""
    # the tests of the network alone run where its few libraries are and nothing else
    from tests.training.disc_project import open_stores

    stores = open_stores(tmp_path)
    yield stores.versions
    stores.database.close()
