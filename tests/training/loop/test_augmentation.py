"""Random views: what stays together, what the ranges mean, what the predictor will see."""

import numpy as np
import pytest

from training.loop.augmentation import Colour, ObjectCrop, ScaleAndCrop

PLAIN = Colour(probability=0)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def a_picture(height=90, width=120):
    """An image whose red channel repeats its instance ids, so that both must move alike."""
    ids = np.zeros((height, width, 1), np.int16)
    ids[20:60, 30:80] = 1
    ids[70:85, 5:25] = 2
    image = np.zeros((height, width, 3), np.uint8)
    image[:, :, 0] = ids[:, :, 0] * 100
    image[:, :, 1] = 255  # black only where the view leaves the image
    return image, ids


@pytest.mark.parametrize(
    "augmentation",
    [ScaleAndCrop(colour=PLAIN), ObjectCrop(colour=PLAIN), ObjectCrop(colour=PLAIN, degrees=80)],
    ids=["scale and crop", "object crop", "turned"],
)
def test_image_and_ids_move_together(augmentation, rng):
    for _ in range(30):
        image, ids = augmentation(a_picture(), ((0, 1),), 64, rng)

        assert image.shape == (64, 64, 3)
        assert ids.shape == (64, 64, 1)
        differs = np.abs(image[:, :, 0] / 100.0 - ids[:, :, 0]) > 0.51
        # Bilinear and nearest may disagree on a pixel of an edge that runs through it.
        assert differs.mean() < 0.03


def test_scale_and_crop_pads_small_images_with_black_background(rng):
    image, ids = ScaleAndCrop(colour=PLAIN)(a_picture(30, 30), (), 64, rng)

    outside = image[:, :, 1] == 0
    assert outside.mean() > 0.5
    assert not ids[outside].any()


def test_scales_cover_their_range(rng):
    still = ScaleAndCrop(colour=PLAIN, flip=0, quarter_turns=0, jitter=0, scale=(0.5, 1.5))
    areas = [(still(a_picture(), (), 200, rng)[1] == 1).sum() for _ in range(300)]

    scales = np.sqrt(np.array(areas) / 2000)
    assert scales.min() == pytest.approx(0.5, abs=0.03)
    assert scales.max() == pytest.approx(1.5, abs=0.03)
    assert scales.mean() == pytest.approx(1.0, abs=0.05)


def test_flips_and_quarter_turns_make_all_eight_views(rng):
    ids = np.arange(16, dtype=np.int16).reshape(4, 4, 1)
    image = np.zeros((4, 4, 3), np.uint8)
    turning = ScaleAndCrop(colour=PLAIN, scale=(1, 1), jitter=0)

    views = {turning((image, ids), (), 4, rng)[1].tobytes() for _ in range(400)}

    assert len(views) == 8


def test_without_turns_only_the_mirrored_view_appears(rng):
    ids = np.arange(16, dtype=np.int16).reshape(4, 4, 1)
    image = np.zeros((4, 4, 3), np.uint8)
    mirror = ScaleAndCrop(colour=PLAIN, scale=(1, 1), jitter=0, quarter_turns=0, flip_both=False)

    views = [mirror((image, ids), (), 4, rng)[1] for _ in range(400)]

    flipped = [np.array_equal(view, ids[:, ::-1]) for view in views]
    assert all(np.array_equal(v, ids) or f for v, f in zip(views, flipped, strict=True))
    assert np.mean(flipped) == pytest.approx(0.5, abs=0.08)


def test_a_view_of_the_whole_image_is_the_image_squashed(rng):
    whole = ObjectCrop(colour=PLAIN, whole=1, whole_extent=(1, 1), flip=0, degrees=0)
    image, ids = a_picture(80, 160)

    seen, seen_ids = whole((image, ids), ((0, 1),), 40, rng)

    # Two rows and four columns of the image make one pixel.
    np.testing.assert_array_equal(seen_ids, ids[1::2, 2::4])
    assert seen[:, :, 1].min() == 255


def test_a_view_of_an_object_holds_its_box_and_stays_in_the_image(rng):
    crop = ObjectCrop(colour=PLAIN, whole=0, degrees=0, box_scale=(1.1, 2.2), box_least=8)
    shares = []
    for _ in range(300):
        image, ids = crop(a_picture(), ((0, 1),), 64, rng)

        # Half a pixel of the border may be mixed with the black beyond it.
        assert image[:, :, 1].min() > 127
        assert not (ids == 1)[[0, -1]].all()
        shares.append((ids == 1).mean())

    assert max(shares) <= 1 / 1.1**2 + 0.05
    # Clipped at the image, a view is smaller than 2.2 boxes, and the object's share larger.
    assert min(shares) >= 1 / 2.2**2 - 0.02
    assert np.std(shares) > 0.05


def test_small_objects_are_seen_with_their_surroundings(rng):
    image, ids = a_picture()
    ids[:] = 0
    ids[40:44, 50:54] = 1
    crop = ObjectCrop(colour=PLAIN, whole=0, degrees=0, box_least=48)

    shares = [(crop((image, ids), ((0, 1),), 96, rng)[1] == 1).mean() for _ in range(50)]

    assert np.mean(shares) == pytest.approx((4 / 48) ** 2, rel=0.2)


def test_ids_beyond_16_bits_survive(rng):
    image, ids = a_picture()
    wide = ids.astype(np.int32) * 50_000

    _, seen = ObjectCrop(colour=PLAIN)((image, wide), ((0, 50_000),), 64, rng)

    assert seen.dtype == np.int32
    assert set(np.unique(seen)) <= {0, 50_000, 100_000}


def test_colours_stay_within_their_ranges(rng):
    grey = np.full((8, 8, 3), 100, np.uint8)
    colour = Colour(probability=1, brightness=(0.1, 0.2), contrast=(0, 0), channel_shift=0)

    values = {int(colour(grey, rng)[0, 0, 0]) for _ in range(300)}

    assert min(values) >= 100 + 25
    assert max(values) <= 100 + 51
    assert len(values) > 20


def test_channels_shift_on_their_own(rng):
    grey = np.full((8, 8, 3), 100, np.uint8)
    colour = Colour(probability=1, brightness=(0, 0), contrast=(0, 0), channel_shift=10)

    pixels = np.array([colour(grey, rng)[0, 0] for _ in range(200)]).astype(int)

    assert np.abs(pixels - 100).max() <= 10
    assert (pixels[:, 0] != pixels[:, 1]).mean() > 0.8


def test_grey_images_have_no_colour(rng):
    image = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)

    seen = Colour(probability=0, grey=1)(image, rng)

    assert np.ptp(seen.astype(int), axis=2).max() <= 1
