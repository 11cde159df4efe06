"""Whether torch can compute on a device, and which one is taken where nobody names one."""

import torch
from torch.nn import functional as F


def why_unusable(device: torch.device | str) -> str | None:
    """Try the least that a network does on a device.

    That torch counts a GPU is not enough: its driver may be too old for this torch, or this torch
    may have no code for the GPU.

    Returns:
        None if it works, else torch's reason in one line.
    """
    try:
        planes = torch.ones(1, 1, 3, 3, device=device)
        F.conv2d(planes @ planes, planes).item()
    except (RuntimeError, AssertionError, ImportError) as error:
        return str(error).partition("\n")[0].rstrip(".")
    return None


def automatic_device() -> str:
    """Return "cuda" where torch can compute on it, else "cpu"."""
    return "cpu" if why_unusable("cuda") else "cuda"
