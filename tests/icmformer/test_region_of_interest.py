import numpy as np
import pytest
import torch

from icmformer.region_of_interest import (
    RegionOfInterest,
    View,
    bounding_box,
    clicks_in_view,
    resize,
)


def test_overlap_is_the_product_of_the_sides():
    region = RegionOfInterest(0, 9, 0, 9)
    assert region.overlap(region) == 1
    assert region.overlap(RegionOfInterest(5, 14, 0, 9)) == pytest.approx(5 / 15)
    assert region.overlap(RegionOfInterest(5, 14, 0, 19)) == pytest.approx(5 / 15 / 2)
    assert region.overlap(RegionOfInterest(10, 19, 0, 9)) == 0


def test_covers_includes_the_borders():
    region = RegionOfInterest(2, 9, 3, 9)
    assert region.covers(region)
    assert region.covers(RegionOfInterest(3, 8, 4, 4))
    assert not region.covers(RegionOfInterest(2, 10, 3, 9))
    assert not region.covers(RegionOfInterest(1, 9, 3, 9))
    assert not region.covers(RegionOfInterest(2, 9, 2, 9))
    assert not region.covers(RegionOfInterest(2, 9, 3, 10))


def test_bounding_box():
    mask = np.zeros((7, 9), dtype=bool)
    assert bounding_box(mask) is None
    mask[2, 3] = mask[4, 8] = True
    assert bounding_box(mask) == RegionOfInterest(2, 4, 3, 8)


def test_published_clicks_map_by_length_and_images_by_corner():
    view = View((300, 300), RegionOfInterest(10, 19, 100, 119), (40, 10))
    places = np.array([[10.0, 100.0], [19.0, 119.0], [9.0, 130.5]])
    np.testing.assert_allclose(clicks_in_view(places, view), [[0, 0], [36, 9.5], [-4, 15.25]])
    ramp = torch.arange(5.0).view(1, 1, 1, 5)
    np.testing.assert_allclose(resize(ramp, (2, 9), True)[0, 0, 1], np.arange(9) / 2)


def test_otherwise_clicks_land_where_the_image_does():
    view = View((300, 300), RegionOfInterest(10, 19, 100, 119), (40, 80), as_published=False)
    places = np.array([[9.5, 99.5], [19.5, 119.5], [15.0, 103.0]])
    mapped = clicks_in_view(places, view)
    np.testing.assert_allclose(mapped, [[-0.5, -0.5], [39.5, 79.5], [21.5, 13.5]])
    dot = torch.zeros(1, 1, 10, 20)
    dot[0, 0, 5, 3] = 1
    seen = resize(dot, (40, 80), False)[0, 0].numpy()
    rows, columns = np.indices(seen.shape)
    centre = [(rows * seen).sum() / seen.sum(), (columns * seen).sum() / seen.sum()]
    np.testing.assert_allclose(centre, [21.5, 13.5], atol=1e-5)
