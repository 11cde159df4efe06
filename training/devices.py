"""Devices that are named on a command line or in a recipe, and the one taken otherwise."""

import argparse

import torch


def device(text: str) -> str:
    """Check that the machine has a device; a `type` for argparse.

    Raises:
        argparse.ArgumentTypeError: if torch cannot compute on it.
    """
    try:
        torch.empty(0, device=text)
    except (RuntimeError, AssertionError) as error:
        count = torch.cuda.device_count()
        raise argparse.ArgumentTypeError(
            f"torch cannot compute on {text!r}; it sees {count} CUDA devices"
        ) from error
    return text


def training_device(wanted: str) -> str:
    """Return the device to compute on: "auto" is CUDA where there is one."""
    if wanted != "auto":
        return wanted
    return "cuda" if torch.cuda.is_available() else "cpu"


def add_device_argument(parser: argparse.ArgumentParser) -> None:
    """Declare `--device`; the GPU is taken where there is one, as in training."""
    parser.add_argument(
        "--device",
        type=device,
        default=training_device("auto"),
        help="such as cpu or cuda:1; by default the GPU if there is one",
    )
