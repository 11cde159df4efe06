"""Some of the items of a data set."""

from collections.abc import Sequence
from typing import Generic

from training.datasets.sample import Item, Items


class Subset(Generic[Item]):
    """The items at these places, in this order; each is read when it is asked for."""

    def __init__(self, items: Items[Item], indices: Sequence[int]) -> None:
        self._items = items
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Item:
        return self._items[self._indices[index]]


def spread(items: Items[Item], limit: int) -> Subset[Item]:
    """Return at most `limit` items, evenly spaced."""
    count = min(limit, len(items))
    return Subset(items, [index * len(items) // count for index in range(count)])
