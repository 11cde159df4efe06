"""Devices that are named on a command line."""

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
