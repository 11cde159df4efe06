"""What can go wrong in this package.

TrainingError
├── DatasetError   a data set that is missing, half-unpacked or malformed
└── RecipeError    a recipe with unknown keys or impossible values
"""


class TrainingError(Exception):
    """Base of every error this package raises on purpose; its text is one sentence for people."""


class DatasetError(TrainingError):
    """A data set is missing or malformed; the text says what was expected where."""


class RecipeError(TrainingError):
    """A recipe names an unknown key or a value that cannot work."""
