"""`python -m ml_backend demo`: start both servers, connect them, say what to click, wait."""

import argparse
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ml_backend.demo import label_studio_server, project
from ml_backend.demo.credentials import Credentials, load_or_create
from ml_backend.demo.given_checkpoint import require_whole
from ml_backend.demo.rest_api import RestApi
from ml_backend.errors import LocalServerError
from ml_backend.local_servers import backend_server, interruption, ports
from ml_backend.local_servers.child_process import ChildProcess, left_running
from ml_backend.serving.versions import UNTRAINED_NAME
from training.folder_lock import locked
from training.home_paths import given_path

logger = logging.getLogger(__name__)

# the clearest object first: this is the task that opens
IMAGE_NAMES = ("cat.jpg", "coffee.jpg", "astronaut.jpg", "rocket.jpg")
LABEL_STUDIO_PORT = 8080
BACKEND_PORT = 9090

_INSTRUCTIONS = """
  Label Studio   {address}
  login          {login.email}
  password       {login.password}
  backend        {backend}  (a page about itself)

  1. Log in and turn on Auto-Annotation, below the image.
  2. Click the pink magic tool, the last one beside the image. It stays chosen.
  3. Choose a label above the image and click the object: a mask appears. Another click adds to
     it, Alt+click takes away; choose the label before each click.
  4. Accept the mask with the green tick below the image, and submit.
{note}
  Ctrl-C stops everything and keeps the data.
"""
_UNTRAINED_NOTE = """
  NOTE: no trained weights are here, so masks come from an UNTRAINED network: they show that
  everything is connected and know nothing about objects. With weights of your own:
      make demo CHECKPOINT=path/to/weights.safetensors
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what a person may choose."""
    parser.add_argument(
        "--data-dir", type=given_path, default=Path(".demo"), help="where all data live"
    )
    port = ports.given_port
    parser.add_argument("--label-studio-port", type=port, help="default: from 8080, the first free")
    parser.add_argument("--backend-port", type=port, help="default: from 9090, the first free")
    parser.add_argument("--checkpoint", type=given_path, help="serve this .safetensors file")
    parser.add_argument(
        "--label-studio",
        type=given_path,
        default=Path(".venv-label-studio/bin/label-studio"),
        help="the label-studio program",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the demo until Ctrl-C; return the exit status.

    Raises:
        LocalServerError: something cannot start, or ended by itself.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    interruption.end_as_ctrl_c_does()
    if arguments.checkpoint is not None:
        require_whole(arguments.checkpoint)
    if not arguments.label_studio.is_file():
        raise LocalServerError(
            f"There is no program {arguments.label_studio}: run make install and start the demo in "
            "the folder of the checkout, or name the program with --label-studio."
        )
    with ExitStack() as running:
        try:
            running.enter_context(_only_one(arguments.data_dir))
            servers = _start(arguments, running)
            while True:
                for server in servers:
                    server.check()
                time.sleep(1)
        except KeyboardInterrupt:
            # the servers stop while this block is left
            interruption.ignore_from_now_on()
            logger.info("\nStopping. Everything is kept in %s.", arguments.data_dir)
    return 0


def _start(arguments: argparse.Namespace, running: ExitStack) -> list[ChildProcess]:
    """Start what the demo consists of; leaving `running` stops it again."""
    data_dir: Path = arguments.data_dir
    login = load_or_create(data_dir / "credentials.json")
    advice = ports.busy_advice("LABEL_STUDIO_PORT")
    port = ports.choose(arguments.label_studio_port, LABEL_STUDIO_PORT, advice)
    advice = ports.busy_advice("BACKEND_PORT")
    backend_port = ports.choose(arguments.backend_port, BACKEND_PORT, advice, taken=port)
    model_dir, settings = data_dir / "backend", _settings(arguments.checkpoint, port, login)

    def keep(server: ChildProcess) -> ChildProcess:
        running.callback(server.stop)
        return server

    logger.info("Starting Label Studio and the backend; the first time takes a minute or two …")
    backend = keep(
        backend_server.start(model_dir, backend_port, data_dir / "backend.log", settings)
    )
    log = data_dir / "label-studio.log"
    label_studio = keep(
        label_studio_server.start(
            arguments.label_studio, data_dir / "label-studio", port, login, log
        )
    )
    backend_server.wait_until_ready(backend, backend_port)
    worker = keep(backend_server.start_worker(model_dir, data_dir / "worker.log", settings))

    api = RestApi(label_studio_server.url(port), login.token)
    logger.info(_provide_project(api, login, backend_server.url(backend_port)))
    return [backend, label_studio, worker]


def _settings(
    checkpoint: Path | None, label_studio_port: int, login: Credentials
) -> dict[str, str]:
    """Return what backend and worker are told on top of the environment."""
    settings = {
        "LABEL_STUDIO_URL": label_studio_server.url(label_studio_port),
        "LABEL_STUDIO_API_KEY": login.token,
    }
    if checkpoint is not None:
        settings["ICMFORMER_CHECKPOINT"] = str(checkpoint.resolve())
    return settings


def _provide_project(api: RestApi, login: Credentials, backend_url: str) -> str:
    """Make sure that the project is there and connected; return what to tell people."""
    images = [project.IMAGES / name for name in IMAGE_NAMES]
    identifier = project.ensure(api, project.TITLE, project.LABELING_CONFIG, images)
    connection = project.connect(api, identifier, backend_url)
    address = f"{api.url}/projects/{identifier}/data?task={project.task_ids(api, identifier)[0]}"
    note = _UNTRAINED_NOTE if connection["model_version"] == UNTRAINED_NAME else ""
    return _INSTRUCTIONS.format(address=address, login=login, backend=backend_url, note=note)


@contextmanager
def _only_one(data_dir: Path) -> Iterator[None]:
    """Hold the data: two Label Studios on one SQLite file would spoil each other."""
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)  # what is in it holds the token
    refusal = LocalServerError(
        f"A demo already runs with the data in {data_dir}: stop it, or choose another place "
        "with --data-dir."
    )
    with locked(data_dir, refusal):
        left = left_running(data_dir)
        if left:
            servers = ", ".join(f"{name} (process {pid})" for name, pid in left.items())
            raise LocalServerError(
                f"Servers of a demo that was killed still run with the data in {data_dir}: "
                f"{servers}; stop them with kill, or choose another place with --data-dir."
            )
        yield
