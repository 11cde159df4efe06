import numpy as np
import pytest

from icmformer import Click, Segmentation
from icmformer.errors import InputError


def test_mask_is_what_exceeds_the_published_threshold():
    probability = np.array([[0.48, 0.49, 0.4901, 0.5]], dtype=np.float32)
    assert Segmentation(probability).mask.tolist() == [[False, False, True, True]]


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32])
def test_starts_from_a_mask(dtype):
    mask = np.array([[0, 1], [1, 1]], dtype=dtype)
    start = Segmentation.from_mask(mask)
    assert start.probability.dtype == np.float32
    assert start.mask.tolist() == [[False, True], [True, True]]
    assert start.clicks == ()
    assert start.nbytes == 16


@pytest.mark.parametrize("shape", [(3,), (2, 3, 1), (0, 4)])
def test_refuses_what_is_no_mask(shape):
    with pytest.raises(InputError, match="a mask needs the shape"):
        Segmentation.from_mask(np.zeros(shape))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("value", [0.3, -4.0, 255.0, np.nan])
def test_refuses_probabilities_and_logits_as_masks(value, dtype):
    mask = np.array([[0, 1, value]], dtype=dtype)
    with pytest.raises(InputError, match=r"0 and 1 only.* threshold it first"):
        Segmentation.from_mask(mask)


@pytest.mark.parametrize("dtype", ["U1", object, "m8[s]", complex])
def test_refuses_masks_of_something_else_than_numbers(dtype):
    with pytest.raises(InputError, match="a mask needs bool or numbers, this one is of "):
        Segmentation.from_mask(np.ones((2, 3)).astype(dtype))


def test_a_list_is_no_mask():
    with pytest.raises(InputError, match="needs to be a numpy array, this one is list"):
        Segmentation.from_mask([[0, 1]])


@pytest.mark.parametrize("dtype", [np.float64, np.uint8, bool])
def test_refuses_what_is_no_probability(dtype):
    with pytest.raises(InputError, match=r"float32, this one is .* use Segmentation\.from_mask"):
        Segmentation(np.ones((2, 3), dtype))


def test_leads_to_clicks_that_begin_with_its_own():
    first, second = Click(1, 2, True), Click(3, 4, False)
    start = Segmentation(np.zeros((5, 5), dtype=np.float32), (first,))
    assert start.leads_to([first])
    assert start.leads_to([first, second])
    assert not start.leads_to([second, first])
    assert not start.leads_to([])


def test_leads_on_from_clicks_in_a_list():
    first = Click(1, 2, True)
    assert Segmentation(np.zeros((5, 5), dtype=np.float32), [first]).leads_to((first,))


def test_the_array_it_was_made_of_stays_writeable():
    probability = np.zeros((3, 3), dtype=np.float32)
    assert not Segmentation(probability).probability.flags.writeable
    probability[0, 0] = 1


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32])
def test_a_mask_that_changes_later_changes_nothing(dtype):
    mask = np.ones((3, 3), dtype)
    start = Segmentation.from_mask(mask)
    mask[0, 0] = 0
    assert start.mask.all()


def test_whatever_is_not_zero_is_on_the_object():
    mask = np.array([[0, -1, 255]], dtype=np.int16)
    assert Segmentation.from_mask(mask).mask.tolist() == [[False, True, True]]


def test_a_mask_of_nothing_says_nothing_of_the_object():
    assert not Segmentation.from_mask(np.zeros((2, 3), bool)).is_given
    assert Segmentation.from_mask(np.eye(2, 3, dtype=bool)).is_given
