"""Threads that work ahead, how far they go, and what becomes of it when nobody wants it."""

import numpy as np
import pytest
import torch

from training.datasets.decoded_cache import decoded
from training.datasets.large_images import Shrunk
from training.datasets.prefetch import in_threads
from training.datasets.sample import AnnotatedImage

MANY = 10_000


def counted(taken):
    for number in range(MANY):
        taken.append(number)
        yield number


def test_results_come_in_the_order_of_their_items():
    with in_threads(lambda number: number**2, range(100)) as squares:
        assert list(squares) == [number**2 for number in range(100)]
    with in_threads(str, []) as nothing:
        assert list(nothing) == []


def test_few_items_are_begun_before_a_result_is_taken():
    taken = []
    with in_threads(str, counted(taken)) as results:
        assert next(results) == "0"
        assert len(taken) <= 4 * torch.get_num_threads()
        next(results)
        assert len(taken) <= 4 * torch.get_num_threads() + 1


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_what_has_not_begun_when_the_caller_fails_never_does(error):
    done = []

    def use():
        with in_threads(done.append, range(MANY)) as results:
            next(results)
            raise error

    with pytest.raises(error):
        use()
    assert len(done) <= 4 * torch.get_num_threads()


class Photos:
    """Images of which one cannot be read, and how many were begun."""

    def __init__(self, unreadable):
        self.begun = 0
        self._unreadable = unreadable

    def __len__(self):
        return MANY

    def __getitem__(self, index):
        self.begun += 1
        if index == self._unreadable:
            raise OSError("damaged")
        image = np.zeros((4, 4, 3), np.uint8)
        return AnnotatedImage(str(index), image, np.ones((4, 4, 1), np.int16), ((0, 1),))


def test_a_cache_stops_at_an_image_that_cannot_be_read(tmp_path):
    photos = Photos(unreadable=50)

    with pytest.raises(OSError, match="damaged"):
        decoded(photos, tmp_path / "cache", "1", Shrunk(None))

    assert photos.begun <= 51 + 4 * torch.get_num_threads()
    assert list((tmp_path / "cache").iterdir()) == []
