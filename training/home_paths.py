"""Paths as people write them: `~` is the home folder, also where no shell has put it in."""

import argparse
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator


def given_path(text: str) -> Path:
    """Return a path without `~`; a `type` for argparse.

    Raises:
        argparse.ArgumentTypeError: if there is no such home folder.
    """
    try:
        return expanded_path(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def expanded_path(text: str | Path) -> Path:
    """Return a path without `~`.

    In `--data=~/photos`, `data.cache=~/cache` and in a recipe the shell leaves it as it is.

    Raises:
        ValueError: if there is no such home folder.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{text}: there is no such home folder") from error


def _expanded_text(text: str) -> str:
    return str(expanded_path(text)) if text.startswith("~") else text


def _no_number(value: Any) -> Any:
    # Not made a path here: YAML has read 007 and 2024_10 as 7 and 202410.
    if isinstance(value, int | float | date):
        raise ValueError(
            f"YAML reads this as the number or date {value}, not as a path: write ./ before the"
            " name"
        )
    return value


ExpandedPath = Annotated[Path, BeforeValidator(_no_number), AfterValidator(expanded_path)]
"""Of a setting that is a path."""
NameOrPath = Annotated[str, AfterValidator(_expanded_text)]
"""Of a setting that may also be the name of something."""
