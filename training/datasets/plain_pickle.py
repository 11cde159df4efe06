"""Unpickling of plain data: containers, numbers, text and NumPy arrays, and nothing that runs."""

import pickle
from pathlib import Path
from typing import Any

from training.errors import DatasetError

_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("collections", "OrderedDict"),
    ("builtins", "set"),
    ("_codecs", "encode"),
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it wants {module}.{name}, which is not plain data")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def load_plain_pickle(path: Path) -> Any:
    """Return the content of a pickle file that RITM distributes.

    Raises:
        DatasetError: if the file cannot be read, is damaged, or holds more than plain data.
    """
    try:
        with path.open("rb") as file:
            return _PlainUnpickler(file).load()
    # Flipped bytes make the unpickler raise nearly anything: MemoryError, TypeError, ImportError, …
    except Exception as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
