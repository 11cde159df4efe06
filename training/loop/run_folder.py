"""One training at a time in a run folder: two would overwrite each other's states."""

from contextlib import AbstractContextManager
from pathlib import Path

from training.errors import RecipeError
from training.folder_lock import locked


def held(folder: Path) -> AbstractContextManager[None]:
    """Return what makes a folder and holds it for this training.

    Raises:
        RecipeError: when it is entered while another training holds the folder.
    """
    return locked(
        folder,
        RecipeError(
            f"another training is running in {folder}: wait for it, or choose another run folder"
        ),
    )
