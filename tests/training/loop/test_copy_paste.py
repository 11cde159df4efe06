"""Objects of other images pasted beside those that are clicked."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.datasets.sample import AnnotatedImage
from training.loop.copy_paste import CopyPaste

RED = (200, 0, 0)


def donor(side=40):
    """A red square of half the side on black."""
    image = np.zeros((side, side, 3), np.uint8)
    layers = np.zeros((side, side, 1), np.int16)
    inside = np.s_[side // 4 : 3 * side // 4, side // 4 : 3 * side // 4]
    image[inside], layers[inside] = RED, 5
    return AnnotatedImage("donor", image, layers, ((0, 5),))


def host(size_hw=(60, 80)):
    """A grey photo whose left half is one object, and whose rows are two more in another layer."""
    image = np.full((*size_hw, 3), 90, np.uint8)
    layers = np.zeros((*size_hw, 2), np.int16)
    layers[:, : size_hw[1] // 2, 0] = 1
    layers[: size_hw[0] // 2, :, 1], layers[size_hw[0] // 2 :, :, 1] = 1, 2
    return AnnotatedImage("host", image, layers, ((0, 1), (1, 1), (1, 2)))


@given(seed=st.integers(0, 2**32 - 1))
def test_what_is_pasted_is_in_front_and_an_object_of_its_own(seed):
    before = host()
    after = CopyPaste(side=(0.3, 0.6), least=1)(before, donor(), np.random.default_rng(seed))
    pasted = after.layers[:, :, 0] == 3
    assert ((0, 3) in after.objects) == pasted.any()
    assert not after.layers[:, :, 1][pasted].any()
    np.testing.assert_array_equal(after.layers[~pasted], before.layers[~pasted])
    assert (after.image[pasted][:, 0] > 90).all()
    assert (before.image == 90).all()
    assert before.objects == host().objects


def test_its_side_is_a_share_of_the_image_s():
    options = CopyPaste(side=(0.5, 0.5))
    results = [options(host(), donor(), np.random.default_rng(seed)) for seed in range(30)]
    widths = [np.ptp(np.nonzero(result.layers[:, :, 0] == 3)[1]) + 1 for result in results]
    assert max(widths) == pytest.approx(30, abs=2)


def test_what_is_hidden_is_not_asked_for():
    small = host((60, 80))
    small.layers[:, :, 0] = 0
    small.layers[30, 40, 0] = 1
    options = CopyPaste(side=(1.0, 1.0), least=1)
    results = [options(small, donor(), np.random.default_rng(seed)) for seed in range(20)]
    hidden = [result for result in results if not (result.layers[:, :, 0] == 1).any()]
    assert hidden
    assert all((0, 1) not in result.objects for result in hidden)
    assert any((0, 1) in result.objects for result in results)


def test_what_is_pasted_beside_the_largest_id_of_16_bits_gets_a_larger_one():
    before = host()
    before.layers[:, :40, 0] = 32_767
    before = replace(before, objects=((0, 32_767), (1, 1), (1, 2)))

    after = CopyPaste(side=(0.5, 0.5), least=1)(before, donor(), np.random.default_rng(0))

    assert {(0, 32_767), (0, 32_768)} <= set(after.objects)
    assert (after.layers[:, :, 0] == 32_768).any()
    assert before.layers.dtype == np.int16


def test_a_donor_without_objects_changes_nothing():
    empty = AnnotatedImage("empty", donor().image, donor().layers, ())
    before = host()
    assert CopyPaste()(before, empty, np.random.default_rng(0)) is before
