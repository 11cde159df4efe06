"""What is held in memory within a bound of bytes, the least recently used dropped first."""

from collections import OrderedDict
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """Something that takes memory."""

    @property
    def nbytes(self) -> int:
        """How many bytes."""


Key = TypeVar("Key")
Value = TypeVar("Value", bound=Sized)


class RecentlyUsed(Generic[Key, Value]):
    """Values by key. Not thread-safe: whoever shares one guards it.

    Attributes:
        nbytes: of all values together.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self.nbytes = 0

    def get(self, key: Key) -> Value | None:
        """Return a value, which counts as used now; None where there is none."""
        if key in self._values:
            self._values.move_to_end(key)
        return self._values.get(key)

    def put(self, key: Key, value: Value) -> None:
        """Hold a value in place of the key's last one, unless it alone is larger than the bound."""
        self.drop(key)
        if value.nbytes > self._max_bytes:
            return
        self._values[key] = value
        self.nbytes += value.nbytes
        while self.nbytes > self._max_bytes:
            self.drop(next(iter(self._values)))

    def drop(self, key: Key) -> None:
        """Forget a value."""
        dropped = self._values.pop(key, None)
        if dropped is not None:
            self.nbytes -= dropped.nbytes

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()
        self.nbytes = 0
