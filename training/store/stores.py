"""What the learning loop reads and writes, together."""

from dataclasses import dataclass

from training.store.database import Database
from training.store.model_versions import ModelVersions
from training.store.stored_files import StoredFiles


@dataclass(frozen=True)
class Stores:
    """Where things are kept."""

    database: Database
    files: StoredFiles
    versions: ModelVersions
