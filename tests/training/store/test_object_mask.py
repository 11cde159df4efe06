import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from training.store.object_mask import ObjectMask, union

masks = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda size: st.tuples(arrays(bool, size), arrays(bool, size))
)


@given(masks)
def test_crops_say_what_whole_masks_say(pair):
    first, second = (ObjectMask.of(mask) for mask in pair)
    assert np.array_equal(first.full(), pair[0])
    assert first.area == pair[0].sum()
    assert first.overlap(second) == second.overlap(first) == (pair[0] & pair[1]).sum()
    assert np.array_equal(union([first, second]).full(), pair[0] | pair[1])


@pytest.mark.parametrize(
    ("row", "column", "inside"),
    [
        (2, 3, True), (3, 4, True), (1, 3, False), (4, 3, False), (2, 2, False), (2, 5, False),
        (2, 9, False), (-1, 0, False), (99, 0, False),
    ],
)  # fmt: skip
def test_contains(row, column, inside):
    mask = np.zeros((5, 10), dtype=bool)
    mask[2:4, 3:5] = True
    assert ObjectMask.of(mask).contains(row, column) is inside
