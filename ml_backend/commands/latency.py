"""`python -m ml_backend latency`: how long clicks and webhooks take on this machine.

It starts the backend and its worker as they ship, plays Label Studio and its annotators, and
measures what they wait for: with nothing else to do, with eight annotators who click without a
pause, and while a fine-tuning job trains on the masks that were accepted. Nothing is left behind.
"""

import argparse
import math
from contextlib import ExitStack

from ml_backend.local_servers import interruption
from ml_backend.settings import load_settings
from training.fine_tuning.retention import PACKAGED
from training.home_paths import given_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "--data",
        type=given_path,
        default=PACKAGED / "judged",
        metavar="FOLDER",
        help="images/ and masks/ to click on (default: the packaged photos)",
    )
    parser.add_argument(
        "--seconds", type=_seconds, default=40.0, help="how long each row is measured (default: 40)"
    )
    parser.add_argument(
        "--state", type=given_path, help="keep the state and the logs in this folder, to look at"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure, print one row for each situation, and stop everything that was started.

    Raises:
        SettingsError: the environment is not one that the backend starts with.
        LocalServerError: something cannot start, or a job does not train.
        KeyboardInterrupt: with what to say of it.
    """
    load_settings()  # so that what is wrong with them is said at once
    interruption.end_as_ctrl_c_does()
    with ExitStack() as running:
        try:
            # Importing it imports torch, for which --help and refusals need not wait.
            from ml_backend.latency import measurement

            annotators = measurement.start(arguments.data, arguments.state, running)
            measurement.measure(annotators, arguments.seconds)
        except KeyboardInterrupt:
            # the servers stop while this block is left
            interruption.ignore_from_now_on()
            raise KeyboardInterrupt(
                "interrupted: rows that are not above were not measured"
            ) from None
    return 0


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above 0")
    return value
