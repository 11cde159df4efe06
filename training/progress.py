"""How far something is: told to whoever asks, a bar on a terminal, now and then a line in a log."""

import sys
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar

from tqdm import tqdm

T = TypeVar("T")
# What a fine-tuning job does, in this order; people read it.
Stage = Literal[
    "reading what was accepted",
    "judging the live version",
    "judging the first version",
    "preparing the images",
    "training",
    "judging the candidate",
    "drawing the report",
    "deciding",
    "going live",
]
# (what is being done, how much of it is done, how much there is); may raise to stop the run.
Tell = Callable[[Stage, int, int], None]

_SECONDS_IN_A_LOG = 30.0


def progress(items: Iterable[T] | None = None, **options: Any) -> "tqdm[T]":
    """Return a progress bar.

    Args:
        items: what is gone through; None for a bar that is updated by hand.
        **options: of `tqdm.tqdm`.
    """
    if not sys.stderr.isatty():
        options |= {"mininterval": _SECONDS_IN_A_LOG, "maxinterval": 2 * _SECONDS_IN_A_LOG}
    return tqdm(items, **options)
