"""Each image is on one side for ever: what was held out is never trained on."""

import numpy as np
import pytest

from training.store.split import HELD_OUT, TRAINING, VALIDATION, image_hash, split_of


def noise(number):
    return np.random.default_rng(number).integers(0, 256, (4, 5, 3), dtype=np.uint8)


def test_the_split_follows_the_pixels_and_holds_out_a_fifth():
    sides = [split_of(image_hash(noise(number))) for number in range(1000)]
    assert 0.16 < sides.count(HELD_OUT) / 1000 < 0.24
    assert split_of(image_hash(noise(7))) == split_of(image_hash(noise(7).copy()))


@pytest.mark.parametrize(
    ("digits", "side"),
    [
        ("00000000", HELD_OUT),
        ("33333333", HELD_OUT),
        ("33333334", VALIDATION),
        ("4ccccccc", VALIDATION),
        ("4ccccccd", TRAINING),
        ("ffffffff", TRAINING),
    ],
)
def test_no_image_ever_changes_sides(digits, side):
    assert split_of(digits.ljust(64, "5")) == side


def test_the_hash_of_an_image_is_the_same_for_ever():
    image = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    assert image_hash(image) == ("94f1c7a1e0ebc2cb2faf2a379e0298db973357215c3af77f4f63aecbf28a7481")


def test_images_of_one_byte_string_but_different_shape_differ():
    flat = np.zeros((2, 6, 3), dtype=np.uint8)
    assert image_hash(flat) != image_hash(flat.reshape(3, 4, 3))
