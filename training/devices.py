"""Devices that are named on a command line or in a recipe, and the one taken otherwise."""

import argparse

from icmformer.devices import automatic_device, why_unusable


def device(text: str) -> str:
    """Return the device to compute on, which "auto" is, too; a `type` for argparse.

    Raises:
        argparse.ArgumentTypeError: if torch cannot compute on it.
    """
    wanted = training_device(text)
    reason = why_unusable(wanted)
    if reason:
        raise argparse.ArgumentTypeError(f"torch cannot compute on {text!r}: {reason}")
    return wanted


def training_device(wanted: str) -> str:
    """Return the device to compute on: "auto" is CUDA where torch can use it."""
    return automatic_device() if wanted == "auto" else wanted


def add_device_argument(parser: argparse.ArgumentParser) -> None:
    """Declare `--device`; the GPU is taken where there is one, as in training."""
    parser.add_argument(
        "--device",
        type=device,
        default="auto",  # found out only if needed: the first look at a GPU takes seconds
        help="such as cpu or cuda:1; by default the GPU if there is one",
    )
