"""Results that are kept are gone on with by the same settings alone."""

import json
from collections.abc import Mapping
from pathlib import Path

from training.atomic_files import write_atomically
from training.errors import BenchmarkError
from training.recipe_files import changed_places


def require_same(found: Mapping[str, object], wanted: Mapping[str, object], path: Path) -> None:
    """Compare settings.

    Args:
        found: those of what is kept.
        wanted: those asked for now.
        path: where it is kept.

    Raises:
        BenchmarkError: naming the first setting that differs.
    """
    for place, (was, now) in sorted(changed_places(dict(found), dict(wanted))):
        raise BenchmarkError(
            f"{path} was measured with {place} = {was}, now it is {now}; choose another --output,"
            " or delete it"
        )


def keep_to(settings: Mapping[str, object], folder: Path) -> None:
    """Write settings into the folder of results, where those there are must be the same.

    Raises:
        BenchmarkError: if they are others, or damaged.
    """
    path = folder / "settings.json"
    if path.exists():
        try:
            found = dict(json.loads(path.read_bytes()))
        except (ValueError, TypeError) as error:
            raise BenchmarkError(
                f"{path} is damaged: choose another --output, or delete {folder}"
            ) from error
        require_same(found, json.loads(json.dumps(settings)), folder)
    else:
        write_atomically(path, json.dumps(settings, indent=1).encode())
