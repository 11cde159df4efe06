"""Checkpoints of a running training: written whole or not at all, the newest few kept."""

import os
from pathlib import Path
from typing import Any

import torch

_PATTERN = "state-*.pt"


def save_state(folder: Path, samples: int, state: dict[str, Any], keep: int) -> Path:
    """Write the state after so many samples and forget the oldest ones.

    Args:
        folder: made if missing.
        samples: seen so far; orders the files.
        state: tensors and plain data only.
        keep: how many files stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"state-{samples:012d}.pt"
    unfinished = folder / f"unfinished-{os.getpid()}"
    with unfinished.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)
    for old in sorted(folder.glob(_PATTERN))[:-keep]:
        old.unlink()
    return path


def load_state(folder: Path) -> dict[str, Any] | None:
    """Return the newest state on the CPU, or None if there is none."""
    files = sorted(folder.glob(_PATTERN))
    if not files:
        return None
    state: dict[str, Any] = torch.load(files[-1], map_location="cpu", weights_only=True)
    return state
