"""The folder in which a backend keeps its state, its MODEL_DIR, where no other place is named."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class StateFolder:
    """Where things are in it. Paths and no addresses: any character may be in the folder's name."""

    path: Path

    @property
    def database(self) -> Path:
        """The file of the SQLite database."""
        return self.path / "state.db"

    @property
    def files(self) -> Path:
        """The folder of images, masks and weights."""
        return self.path / "files"

    @property
    def downloads(self) -> Path:
        """The folder of copies of stored files that are kept elsewhere."""
        return self.path / "downloads"
