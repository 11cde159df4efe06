"""The device that is named on a command line, and the one taken otherwise."""

import argparse

from icmformer.devices import usable_device
from icmformer.errors import ConfigError


def device(text: str) -> str:
    """Return the device to compute on, which "auto" is, too; a `type` for argparse.

    Raises:
        argparse.ArgumentTypeError: if torch cannot compute on it.
    """
    try:
        return usable_device(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def add_device_argument(parser: argparse.ArgumentParser) -> None:
    """Declare `--device`; the GPU is taken where there is one, as in training."""
    parser.add_argument(
        "--device",
        type=device,
        default="auto",  # found out only if needed: the first look at a GPU takes seconds
        help="such as cpu or cuda:1; by default the GPU if there is one",
    )
