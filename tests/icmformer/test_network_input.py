import numpy as np
import pytest
import torch

from icmformer.clicks import Click, click_slots, disk_maps
from icmformer.network_input import click_planes, image_planes, mask_plane
from icmformer.placed_clicks import PlacedClicks
from icmformer.region_of_interest import RegionOfInterest, View, resize

CPU = torch.device("cpu")


@pytest.mark.parametrize("as_published", [True, False])
def test_image_is_cut_out_and_scaled_to_one(as_published):
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    view = View((40, 50), RegionOfInterest(10, 29, 5, 34), (20, 30), as_published)
    planes = image_planes(image, view, CPU)
    assert planes.dtype == torch.float32
    expected = image[10:30, 5:35].transpose(2, 0, 1)[None] / 255
    np.testing.assert_allclose(planes, expected, atol=1e-6)


def _whole(image, size_hw, as_published):
    image_hw = image.shape[:2]
    view = View(image_hw, RegionOfInterest.whole(image_hw), size_hw, as_published)
    return image_planes(image, view, CPU)


def test_sampling_picks_pixels_and_averaging_does_not():
    """A fine checkerboard, seen from afar, is grey."""
    board = np.indices((400, 400)).sum(axis=0) % 2 * 255
    image = np.repeat(board[..., None], 3, axis=2).astype(np.uint8)
    assert _whole(image, (41, 41), as_published=True).std() > 0.1
    assert _whole(image, (41, 41), as_published=False).std() < 0.01


@pytest.mark.parametrize("size_hw", [(64, 64), (300, 20), (17, 33), (60, 40)])
def test_image_and_mask_stay_in_place(size_hw):
    """The mask of what is bright lies exactly on it, whatever the size."""
    image = np.zeros((60, 40, 3), dtype=np.uint8)
    image[13:37, 22:30] = 255
    seen = _whole(image, size_hw, as_published=False)[:, :1]
    back = resize(seen, (60, 40), as_published=False)[0, 0].numpy()
    rows, columns = np.indices(back.shape)
    centre = [(rows * back).sum() / back.sum(), (columns * back).sum() / back.sum()]
    np.testing.assert_allclose(centre, [24.5, 25.5], atol=0.06)


def test_mask_is_cut_out_of_the_whole_image():
    probability = np.zeros((40, 50), dtype=np.float32)
    probability[20, 10] = 0.7
    view = View((40, 50), RegionOfInterest(10, 29, 5, 34), (20, 30))
    plane = mask_plane(probability, view, CPU)
    assert plane.shape == (1, 1, 20, 30)
    assert plane[0, 0, 10, 5] == np.float32(0.7)
    assert plane.sum() == np.float32(0.7)


def test_an_enlarged_mask_stays_in_place_where_it_need_not_be_as_published():
    probability = np.zeros((40, 50), dtype=np.float32)
    probability[20, 10] = 1
    view = View((40, 50), RegionOfInterest.whole((40, 50)), (80, 100), as_published=False)
    plane = mask_plane(probability, view, CPU)[0, 0].numpy()
    np.testing.assert_array_equal(
        np.argwhere(plane > 0.5), [[r, c] for r in (40, 41) for c in (20, 21)]
    )


VIEW = View((40, 50), RegionOfInterest(10, 29, 10, 34), (80, 100))


def draw(places, positive, size_hw):
    return disk_maps(click_slots(places, positive), size_hw, radius=5)[0]


def test_mirrored_clicks_are_the_mirrored_maps():
    clicks = PlacedClicks.on_image([Click(15.5, 20.5, True), Click(22.5, 17.5, False)], (40, 50))
    maps, mirrored = (click_planes(draw, clicks, VIEW, mirror) for mirror in (False, True))
    assert maps.shape == (1, 2, 80, 100)
    assert maps[0, 0, 40, 20] == maps[0, 1, 28, 48] == 1
    np.testing.assert_array_equal(mirrored, maps.flip(3))


def test_rim_of_a_disk_reaches_into_the_view_unless_it_is_above_and_to_the_left():
    beside = PlacedClicks.on_image([Click(15.5, 9.5, False)], (40, 50))
    corner = PlacedClicks.on_image([Click(9.5, 9.5, False)], (40, 50))
    assert click_planes(draw, beside, VIEW, mirrored=False).any()
    assert not click_planes(draw, corner, VIEW, mirrored=False).any(), "as published"
    shrunk = View((400, 500), RegionOfInterest(10, 399, 10, 499), (80, 100))
    corner = PlacedClicks.on_image([Click(9.5, 9.5, False)], (400, 500))
    assert not click_planes(draw, corner, shrunk, mirrored=False).any(), "as published"


def test_a_click_anywhere_on_the_first_pixel_is_drawn_where_clicks_are_placed_by_length():
    """That pixel, of a network that sees photos smaller, is many pixels of the photo."""
    whole = View((3000, 4000), RegionOfInterest.whole((3000, 4000)), (80, 80), as_published=False)
    clicks = PlacedClicks.on_image([Click(0.0, 0.0, True)], (3000, 4000))
    assert click_planes(draw, clicks, whole, mirrored=False)[0, 0, 0, 0] == 1
