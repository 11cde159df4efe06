"""Devices that are named on a command line, and the one that is taken otherwise."""

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


def add_device_argument(parser: argparse.ArgumentParser) -> None:
    """Declare `--device`; the GPU is taken where there is one, as in training."""
    parser.add_argument(
        "--device",
        type=device,
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="such as cpu or cuda:1; by default the GPU if there is one",
    )
