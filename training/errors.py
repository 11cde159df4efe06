"""What can go wrong in this package.

TrainingError
├── DatasetError     a data set that is missing, half-unpacked or malformed
├── RecipeError      a recipe with unknown keys or impossible values
├── DatabaseError    a database that cannot be reached, opened or written
├── StoredFileError  a stored image, mask or checkpoint that is missing or damaged
├── FileStoreError   stored files that cannot be reached, whole as they may be
├── BenchmarkError   an output folder of another benchmark, or an impossible choice
├── LibraryError     a library that a command needs and nobody has installed
├── ScoreCardError   a score card that is damaged or cannot answer the question
└── VersionError     a model version that does not exist or may not be served
    └── OvertakenError   a decision about what is live that somebody else was faster with
"""


class TrainingError(Exception):
    """Base of every error this package raises on purpose; its text is one sentence for people."""


class DatasetError(TrainingError):
    """A data set is missing or malformed; the text says what was expected where."""


class RecipeError(TrainingError):
    """A recipe names an unknown key or a value that cannot work."""


class DatabaseError(TrainingError):
    """The database cannot be reached or used, or another version of this program wrote it."""


class StoredFileError(TrainingError):
    """A stored file is missing, or is not what was stored."""


class FileStoreError(TrainingError):
    """The stored files cannot be reached or written; that says nothing about what they hold."""


class VersionError(TrainingError):
    """A model version does not exist, or may not be served."""


class OvertakenError(VersionError):
    """Somebody was faster: what is live is not what the one saw who decides about it."""


class ScoreCardError(TrainingError):
    """A score card is damaged, or does not know what was asked of it."""


class BenchmarkError(TrainingError):
    """A benchmark cannot be run as asked, or its output folder holds another one's results."""


class LibraryError(TrainingError):
    """A library that a command needs is not installed; the text says how it is."""
