"""Work that threads do ahead of whoever uses it, but not far."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 4  # of each thread: enough for one that is slow not to hold up the others


@contextmanager
def in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Iterator[Result]]:
    """Give the results of all items, in their order.

    Only a few wait to be taken, since a hundred thousand images would not fit in memory. What has
    not begun when the caller leaves, as after an error or Ctrl-C, is never begun.

    Args:
        work: done in as many threads as torch uses.
        items: taken as results are.
    """
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads)
    try:
        yield _in_order(pool, work, items, _AHEAD * threads)
    finally:
        pool.shutdown(cancel_futures=True)


def _in_order(
    pool: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item], most: int
) -> Iterator[Result]:
    begun: deque[Future[Result]] = deque()
    for item in items:
        begun.append(pool.submit(work, item))
        if len(begun) >= most:
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()
