"""The distributions of first clicks against their definitions."""

import cv2
import numpy as np
import pytest

from training.clicks.initial_clicks import (
    EMPTY,
    NEGATIVE,
    POSITIVE,
    ClickSampling,
    object_centre,
    sample_clicks,
)
from training.datasets.object_sampling import ObjectSampling, Target, choose_objects, make_target

DRAWS = 4000


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def a_target() -> Target:
    """A square object between two others in a 64 × 64 image."""
    layers = np.zeros((64, 64, 1), np.int16)
    layers[20:44, 20:44] = 1
    layers[:10, :10] = 2
    layers[54:, 54:] = 3
    objects = ((0, 1), (0, 2), (0, 3))
    return make_target(layers, objects[:1], objects)


def counts(slots: np.ndarray) -> tuple[int, int]:
    return tuple((slots[sign, :, 0] != EMPTY).sum() for sign in (POSITIVE, NEGATIVE))


def test_numbers_of_clicks_fall_by_a_fifth(rng):
    drawn = np.array(
        [counts(sample_clicks(a_target(), ClickSampling(), rng)) for _ in range(DRAWS)]
    )

    for column, first, mean in ((0, 1, 4.89), (1, 0, 3.91)):
        share = np.bincount(drawn[:, column], minlength=25) / DRAWS
        # The slots bound both: 24 positive from 1, 24 negative from 0.
        wanted = np.array([0.8 ** (n - first) if n >= first else 0 for n in range(25)])
        np.testing.assert_allclose(share, wanted / wanted.sum(), atol=0.02)
        assert drawn[:, column].mean() == pytest.approx(mean, abs=0.2)


def test_positive_clicks_are_uniform_over_the_eroded_object(rng):
    target = a_target()
    core = cv2.erode(target.mask.astype(np.uint8), np.ones((3, 3)), iterations=3) > 0
    hits = np.zeros(target.mask.shape)
    for _ in range(DRAWS):
        for row, column in sample_clicks(target, ClickSampling(), rng)[POSITIVE]:
            if row != EMPTY:
                hits[row, column] += 1

    assert hits[~target.mask].sum() == 0
    # A tenth of the samples is not eroded; the core is (18 / 24)² of the object.
    in_core = 0.9 + 0.1 * (18 / 24) ** 2
    assert hits[core].sum() / hits.sum() == pytest.approx(in_core, abs=0.01)
    quadrant = hits[20:32, 20:32].sum() / hits.sum()
    assert quadrant == pytest.approx(0.25, abs=0.02)


def test_a_thin_object_is_not_eroded_away(rng):
    layers = np.zeros((32, 32, 1), np.int16)
    layers[10:14, :] = 1
    target = make_target(layers, ((0, 1),), ((0, 1),))

    slots = sample_clicks(target, ClickSampling(), rng)

    places = slots[POSITIVE][slots[POSITIVE, :, 0] != EMPTY]
    assert target.mask[tuple(places.T)].all()


def test_negative_clicks_follow_their_strategies(rng):
    target = a_target()
    width = int(np.ceil(0.1 * 24))
    ring = cv2.dilate(target.mask.astype(np.uint8), np.ones((3, 3)), iterations=width) > 0
    ring &= ~target.mask
    hits = np.zeros(target.mask.shape)
    for _ in range(DRAWS):
        for row, column in sample_clicks(target, ClickSampling(), rng)[NEGATIVE]:
            if row != EMPTY:
                hits[row, column] += 1

    assert hits[target.mask].sum() == 0
    outside = (~target.mask).sum()
    on_others = 0.4 + 0.1 * target.others.sum() / outside
    on_ring = 0.5 + 0.1 * ring.sum() / outside
    assert hits[target.others].sum() / hits.sum() == pytest.approx(on_others, abs=0.02)
    assert hits[ring].sum() / hits.sum() == pytest.approx(on_ring, abs=0.02)


def test_clicks_of_an_empty_region_are_dropped(rng):
    layers = np.ones((16, 16, 1), np.int16)
    target = make_target(layers, ((0, 1),), ((0, 1),))

    drawn = [counts(sample_clicks(target, ClickSampling(), rng))[1] for _ in range(100)]

    assert not any(drawn)


def test_without_a_target_all_clicks_are_negative_and_anywhere(rng):
    layers = np.zeros((16, 16, 1), np.int16)
    target = make_target(layers, (), ())

    drawn = [counts(sample_clicks(target, ClickSampling(), rng)) for _ in range(500)]

    assert not any(positive for positive, _ in drawn)
    assert np.mean([negative for _, negative in drawn]) == pytest.approx(3.91, abs=0.5)


def test_without_a_target_no_click_asks_what_an_object_is(rng):
    layers = np.zeros((16, 16, 1), np.int16)
    layers[:, 4:] = 1
    target = make_target(layers, (), ((0, 1),))
    for _ in range(50):
        columns = sample_clicks(target, ClickSampling(), rng)[NEGATIVE, :, 1]
        assert (columns < 4).all()


def test_every_merged_object_gets_a_click(rng):
    layers = np.zeros((64, 64, 1), np.int16)
    layers[4:14, 4:14] = 1
    layers[40:60, 40:60] = 2
    both = ((0, 1), (0, 2))
    target = make_target(layers, both, both)

    drawn = [sample_clicks(target, ClickSampling(), rng)[POSITIVE] for _ in range(DRAWS)]

    for slots in drawn:
        places = slots[slots[:, 0] != EMPTY]
        assert set(layers[:, :, 0][tuple(places.T)]) == {1, 2}
    numbers = [(slots[:, 0] != EMPTY).sum() for slots in drawn]
    # One each, then as many as there are negative clicks.
    assert np.mean(numbers) == pytest.approx(2 + 3.91, abs=0.2)
    assert max(numbers) <= 24

    few = [sample_clicks(target, ClickSampling(slots=1), rng)[POSITIVE] for _ in range(50)]
    assert {slots.shape for slots in few} == {(1, 2)}, "more objects than there is room for clicks"
    for _ in range(50):
        two = sample_clicks(target, ClickSampling(slots=2), rng)[POSITIVE]
        assert set(layers[:, :, 0][tuple(two.T)]) == {1, 2}


def test_a_share_of_samples_starts_from_a_single_click(rng):
    target = a_target()
    options = ClickSampling(single=0.4, single_centre=0.25)

    drawn = [sample_clicks(target, options, rng) for _ in range(DRAWS)]

    single = [slots for slots in drawn if counts(slots) == (1, 0)]
    # Ordinary samples have one positive and no negative click now and then.
    alone = 0.4 + 0.6 * (0.2 / (1 - 0.8**24)) * (0.2 / (1 - 0.8**25))
    assert len(single) / DRAWS == pytest.approx(alone, abs=0.03)
    centre = object_centre(target.mask)
    centred = sum(tuple(slots[POSITIVE, 0]) == centre for slots in single)
    assert centred / DRAWS == pytest.approx(0.1, abs=0.02)


def test_strategies_must_be_a_distribution():
    with pytest.raises(ValueError, match="must be 1"):
        ClickSampling(background=0.5)


def test_the_centre_is_the_pixel_farthest_from_the_edge():
    mask = np.zeros((21, 31), bool)
    mask[:, :9] = True
    mask[5, 9:25] = True

    assert object_centre(mask)[1] == 4


def test_of_pixels_that_are_equally_deep_the_first_is_the_centre():
    # OpenCV says that some of them are deeper in the last bit, others in the next run.
    rows, columns = np.mgrid[:90, :90]

    assert object_centre(abs(3 * columns - rows - 90) < 30) == (9, 33)


def test_objects_are_drawn_alike_and_merged_in_pairs(rng):
    layers = np.zeros((8, 8, 1), np.int16)
    objects = tuple((0, i) for i in range(1, 6))

    drawn = [choose_objects(layers, objects, ObjectSampling(), rng) for _ in range(DRAWS)]

    pairs = [chosen for chosen in drawn if len(chosen) == 2]
    assert len(pairs) / DRAWS == pytest.approx(0.15, abs=0.02)
    assert all(len(set(chosen)) == 2 for chosen in pairs)
    single = [chosen[0][1] for chosen in drawn if len(chosen) == 1]
    np.testing.assert_allclose(np.bincount(single)[1:] / len(single), 0.2, atol=0.03)


def test_an_only_object_is_never_merged(rng):
    layers = np.zeros((8, 8, 1), np.int16)

    chosen = [choose_objects(layers, ((0, 1),), ObjectSampling(), rng) for _ in range(100)]

    assert set(chosen) == {((0, 1),)}


def test_only_touching_regions_are_merged_as_neighbours(rng):
    layers = np.repeat(np.arange(1, 9, dtype=np.int16), 4)[None, :, None].repeat(16, axis=0)
    objects = tuple((0, i) for i in range(1, 9))
    options = ObjectSampling(merge_probability=0, neighbours_max=2)

    for _ in range(200):
        ids = sorted(i for _, i in choose_objects(layers, objects, options, rng))
        assert ids == list(range(ids[0], ids[0] + len(ids)))
        assert len(ids) <= 3


def test_what_is_not_the_target_is_other_objects_or_else_everything():
    layers = np.zeros((8, 8, 1), np.int16)
    layers[0, :] = 1
    layers[1, :] = 2
    layers[7, 7] = -1

    one = make_target(layers, ((0, 1),), ((0, 1), (0, 2)))
    alone = make_target(layers, ((0, 1),), ((0, 1),))

    assert one.others.sum() == 8
    assert alone.others.sum() == 56
    assert one.labels()[7, 7] == -1
    assert one.labels().sum() == 8 - 1


@pytest.mark.parametrize("strategy", ["background", "other", "border"])
def test_what_is_ignored_around_an_object_alone_is_not_clicked(rng, strategy):
    mask = np.zeros((32, 32), bool)
    mask[10:20, 10:20] = True
    ignored = np.zeros((32, 32), bool)
    ignored[:, 20:] = True
    target = Target((mask,), mask, ~mask, ignored)
    options = ClickSampling(**{"background": 0, "other": 0, "border": 0, strategy: 1})

    for _ in range(50):
        slots = sample_clicks(target, options, rng)[NEGATIVE]
        places = slots[slots[:, 0] != EMPTY]
        assert not (mask | ignored)[tuple(places.T)].any()


@pytest.mark.parametrize(("side", "is_eroded"), [(9, False), (10, True)])
def test_an_object_keeps_its_border_where_its_core_has_ten_pixels_or_fewer(rng, side, is_eroded):
    layers = np.zeros((32, 32, 1), np.int16)
    layers[8 : 8 + side, 8 : 8 + side] = 1
    target = make_target(layers, ((0, 1),), ((0, 1),))
    hits = np.zeros((32, 32), bool)
    for _ in range(200):
        slots = sample_clicks(target, ClickSampling(erosion_probability=1), rng)[POSITIVE]
        hits[tuple(slots[slots[:, 0] != EMPTY].T)] = True

    core = np.zeros((32, 32), bool)
    core[11 : 5 + side, 11 : 5 + side] = True
    np.testing.assert_array_equal(hits, core if is_eroded else target.mask)
