"""What is held in memory within a bound of bytes, the least recently used dropped first."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class RecentlyUsed(Generic[Key, Value]):
    """Values by key. Not thread-safe: whoever shares one guards it.

    Attributes:
        nbytes: of all values together.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._values: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self.nbytes = 0

    def get(self, key: Key) -> Value | None:
        """Return a value, which counts as used now; None where there is none."""
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key][0]

    def put(self, key: Key, value: Value, nbytes: int) -> None:
        """Hold a value of so many bytes in place of the key's last, unless it exceeds the bound."""
        self.drop(key)
        if nbytes > self._max_bytes:
            return
        self._values[key] = value, nbytes
        self.nbytes += nbytes
        while self.nbytes > self._max_bytes:
            self.drop(next(iter(self._values)))

    def drop(self, key: Key) -> None:
        """Forget a value."""
        _, nbytes = self._values.pop(key, (None, 0))
        self.nbytes -= nbytes

    def drop_those(self, unwanted: Callable[[Value], bool]) -> None:
        """Forget the values of which this holds."""
        for key in [key for key, (value, _) in self._values.items() if unwanted(value)]:
            self.drop(key)

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()
        self.nbytes = 0
