import zlib
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest
import torch

from icmformer.clicks import Click, from_row_column
from icmformer.errors import InputError
from icmformer.predictor import Predictor
from icmformer.repeated_zoom_in import RepeatedZoomIn
from icmformer.segmentation import MASK_THRESHOLD, Segmentation
from icmformer.variants import build_model
from tests import golden_loops
from tests.golden_loops import LOOPS
from tests.toy_network import ToyNetwork


def test_golden_image_is_the_recorded_one():
    assert zlib.crc32(golden_loops.image().tobytes()) == golden_loops.load("img_crc32")["img_crc32"]


@pytest.mark.parametrize("name", LOOPS)
def test_golden_loop(name):
    golden, loop = golden_loops.load(name), LOOPS[name]
    clicks = [from_row_column(row, column, bool(p)) for p, row, column, _ in golden["clicks"]]
    network = ToyNetwork()
    predictor = loop.predictor(network)
    image, result, results = golden_loops.image(), None, []
    for count in range(1, len(clicks) + 1):
        result = predictor.segment(image, clicks[:count], result)
        results.append(result)

    assert [_borders(result.region) for result in results] == golden["rois"].tolist()
    assert len(network.seen_sizes) == golden["net_calls"]
    assert network.seen_sizes == [tuple(size) for size in golden["net_shapes"]]
    for seen, expected in zip(network.seen_points, golden["net_points"], strict=True):
        assert _point_lists(seen) == _golden_point_lists(expected)
    probabilities = np.stack([result.probability for result in results])
    recorded, seen = golden["probs_stride6"], probabilities[:, ::6, ::6]
    # exp rounds otherwise with other vectors, and at the ends of each thread's share: by the last
    # bit, 6e-8. Passes that read what the ones before made of it were up to 2.1e-7 away, the sums
    # 1.3e-9. No recorded probability is nearer to the threshold than 3.8e-5.
    np.testing.assert_allclose(seen, recorded, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(seen > MASK_THRESHOLD, recorded > MASK_THRESHOLD)
    sums = probabilities.astype(np.float64).sum(axis=(1, 2))
    np.testing.assert_allclose(sums, golden["prob_sums"], rtol=1e-8)


def _borders(region):
    if region is None:
        return [-1] * 4
    return [region.row_min, region.row_max, region.column_min, region.column_max]


def _point_lists(seen):
    """Per image of the batch and per sign, the points that the toy network was given."""
    return [[plane[~plane[:, 0].isnan()].tolist() for plane in maps] for maps in seen]


def _golden_point_lists(points):
    points = points[:, ~np.isnan(points[0, :, 0]), :2]
    signs = np.split(points, 2, axis=1)
    return [
        [half[half.max(axis=1) >= 0].tolist() for half in halves]
        for halves in zip(*signs, strict=True)
    ]


CLICKS = [
    Click(187.5, 114.5, True),
    Click(163.25, 185.75, True),
    Click(140.0, 180.0, False),
    Click(190.0, 90.0, True),
]


@pytest.mark.parametrize("name", [*LOOPS, "served"])
def test_previous_changes_no_bit(name):
    predictor = LOOPS[name].predictor(ToyNetwork()) if name in LOOPS else Predictor(ToyNetwork())
    image = golden_loops.image()
    step = None
    for count in range(1, len(CLICKS) + 1):
        replayed = predictor.segment(image, CLICKS[:count])
        step = predictor.segment(image, CLICKS[:count], step)
        np.testing.assert_array_equal(step.probability, replayed.probability)
        assert step.region == replayed.region
        assert step.clicks == replayed.clicks == tuple(CLICKS[:count])


def test_features_save_encoding_and_change_no_bit():
    network, image = ToyNetwork(), golden_loops.image()
    predictor = LOOPS["fixed224_noflip"].predictor(network)
    result = predictor.segment(image, CLICKS)
    assert network.encoded == 2, "the whole image for the first click, the region for the others"
    without = Segmentation(result.probability, result.clicks, result.region)
    more = [*CLICKS, Click(150.0, 100.0, False)]
    kept = predictor.segment(image, more, result)
    assert network.encoded == 2
    dropped = predictor.segment(image, more, without)
    assert network.encoded == 3
    np.testing.assert_array_equal(kept.probability, dropped.probability)
    assert result.nbytes == without.nbytes + 3 * 224 * 224 * 4


@pytest.mark.parametrize("preset", [Predictor.for_benchmark, Predictor])
def test_objects_on_an_encoded_image_need_it_encoded_once_and_change_no_bit(preset):
    torch.manual_seed(0)
    network, image, encoded = build_model("tiny"), golden_loops.image(), []
    encode = network.encode_image
    network.encode_image = lambda crop: encoded.append(crop) or encode(crop)
    predictor = preset(network)
    start = predictor.encode(image)
    assert not start.mask.any()
    for clicks in (CLICKS[:1], CLICKS[1:2], CLICKS):
        encoded.clear()
        fresh = predictor.segment(image, clicks)
        alone = len(encoded)
        shared = predictor.segment(image, clicks, start)
        assert len(encoded) - alone == alone - 1
        np.testing.assert_array_equal(shared.probability, fresh.probability)
        assert (shared.region, shared.clicks) == (fresh.region, fresh.clicks)
    with pytest.raises(InputError, match="of another image"):
        predictor.segment(255 - image, CLICKS, start)


@pytest.mark.parametrize("preset", [Predictor.for_benchmark, Predictor])
def test_an_encoded_mask_to_start_from_changes_no_bit_and_belongs_to_its_image(preset):
    predictor, image = preset(ToyNetwork()), golden_loops.image()
    mask = np.zeros(image.shape[:2], bool)
    for mask[40:140, 60:160] in (False, True):
        drawn = Segmentation.from_mask(mask)
        start = predictor.encode(image, drawn)
        np.testing.assert_array_equal(start.mask, mask)
        for clicks in (CLICKS[:1], CLICKS):
            expected = predictor.segment(image, clicks, drawn)
            result = predictor.segment(image, clicks, start)
            np.testing.assert_array_equal(result.probability, expected.probability)
        assert predictor.encode(image, start) is start
        with pytest.raises(InputError, match="of another image"):
            predictor.segment(255 - image, CLICKS, start)


def test_features_of_another_network_are_not_used():
    image = golden_loops.image()
    first, second = (Predictor.for_benchmark(ToyNetwork()) for _ in range(2))
    result = first.segment(image, CLICKS[:2])
    assert second.segment(image, CLICKS, result).features is not result.features


@pytest.mark.parametrize("name", ["tiny", "tiny_swin"])
@pytest.mark.parametrize("preset", [Predictor.for_benchmark, Predictor])
def test_real_network_gives_the_same_bits_however_it_got_there(name, preset):
    torch.manual_seed(0)
    predictor, image = preset(build_model(name)), golden_loops.image()
    replayed = predictor.segment(image, CLICKS)
    stepwise = bare = None
    for count in range(1, len(CLICKS) + 1):
        stepwise = predictor.segment(image, CLICKS[:count], stepwise)
        bare = predictor.segment(image, CLICKS[:count], bare).without_features()
    for other in (stepwise, bare):
        np.testing.assert_array_equal(other.probability, replayed.probability)
        assert other.region == replayed.region
    assert bare.features is None
    assert bare.image_fingerprint == replayed.image_fingerprint, (
        "so that another image is refused nevertheless"
    )
    assert replayed.nbytes > bare.nbytes == image.shape[0] * image.shape[1] * 4


def test_benchmark_uses_the_size_of_the_network_or_the_one_asked_for():
    for size, expected in ((None, (64, 48)), ((96, 80), (96, 80))):
        network = ToyNetwork((64, 48))
        Predictor.for_benchmark(network, size).segment(golden_loops.image(), CLICKS[:1])
        assert network.seen_sizes == [(2, 4, *expected)]


def test_answers_as_people_are_served_unless_told_otherwise():
    image = golden_loops.image()
    network = ToyNetwork()
    served = Predictor(network).segment(image, CLICKS)
    told = {"zoom_in": RepeatedZoomIn(network.input_size), "flip": False}
    np.testing.assert_array_equal(
        Predictor(network, **told).segment(image, CLICKS).probability, served.probability
    )
    published = Predictor.for_benchmark(ToyNetwork()).segment(image, CLICKS)
    assert not np.array_equal(published.probability, served.probability)


def test_no_clicks_give_an_empty_mask_or_the_one_to_start_from():
    predictor = Predictor(ToyNetwork())
    image = np.zeros((5, 7, 3), dtype=np.uint8)
    assert not predictor.segment(image, []).mask.any()
    mask = np.eye(5, 7, dtype=bool)
    np.testing.assert_array_equal(
        predictor.segment(image, [], Segmentation.from_mask(mask)).mask, mask
    )


def test_existing_mask_is_the_previous_mask_and_sets_the_region():
    mask = np.zeros((300, 420), dtype=bool)
    mask[40:140, 60:160] = True
    predictor = Predictor.for_benchmark(ToyNetwork())
    result = predictor.segment(golden_loops.image(), CLICKS[:1], Segmentation.from_mask(mask))
    assert _borders(result.region) == [0, 190, 24, 224]
    fresh = predictor.segment(golden_loops.image(), CLICKS[:1])
    assert not np.array_equal(result.probability, fresh.probability)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 2), (7, 1500), (900, 4), (250, 333)])
def test_any_image_size(size):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    clicks = [Click(0.0, 0.0, True), Click(size[1], size[0], False), Click(0.5, 0.5, True)]
    result = Predictor.for_benchmark(ToyNetwork((64, 48))).segment(image, clicks)
    assert result.probability.shape == result.mask.shape == size
    assert result.probability.dtype == np.float32
    assert result.mask.dtype == bool
    assert np.isfinite(result.probability).all()


def test_memory_layout_of_the_image_does_not_matter():
    image = golden_loops.image()
    predictor = Predictor.for_benchmark(ToyNetwork())
    expected = predictor.segment(image, CLICKS).probability
    read_only = image.copy()
    read_only.flags.writeable = False
    wide = np.zeros((300, 840, 4), dtype=np.uint8)
    wide[:, ::2, 2::-1] = image
    for same in (
        read_only,
        np.asfortranarray(image),
        wide[:, ::2, 2::-1],
        image[::-1].copy()[::-1],
    ):
        np.testing.assert_array_equal(predictor.segment(same, CLICKS).probability, expected)


def test_result_is_read_only():
    result = Predictor(ToyNetwork()).segment(golden_loops.image(), CLICKS[:1])
    with pytest.raises(ValueError, match="read-only"):
        result.probability[0, 0] = 1


IMAGE = np.zeros((20, 30, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "image",
    [
        IMAGE.astype(np.float32),
        IMAGE[..., 0],
        IMAGE[..., :2],
        np.zeros((20, 30, 4), dtype=np.uint8),
        np.zeros((0, 30, 3), dtype=np.uint8),
        IMAGE.tolist(),
    ],
)
def test_refuses_what_is_no_image(image):
    with pytest.raises(InputError, match="an image needs"):
        Predictor(ToyNetwork()).segment(image, [Click(1, 1, True)])


@pytest.mark.parametrize(
    ("x", "y"),
    [(np.nan, 1), (1, np.inf), (-1.5, 1), (1, 21.5), (32.0, 1), (1, -np.inf), (Fraction(99), 1)],
)
def test_refuses_clicks_that_are_not_on_the_image(x, y):
    with pytest.raises(InputError, match="not on the image, which is 30 pixels wide and 20 high"):
        Predictor(ToyNetwork()).segment(IMAGE, [Click(1, 1, True), Click(x, y, True)])


def test_refuses_tuples_for_clicks_and_masks_for_segmentations():
    predictor = Predictor(ToyNetwork())
    with pytest.raises(InputError, match=r"\(1, 1, True\) is no click: use Click"):
        predictor.segment(IMAGE, [(1, 1, True)])
    with pytest.raises(InputError, match=r"is a ndarray: .* use Segmentation\.from_mask\(mask\)"):
        predictor.segment(IMAGE, [Click(1, 1, True)], np.ones((20, 30), dtype=bool))


@pytest.mark.parametrize("clicks", [None, 7, Click(1, 1, True)])
def test_refuses_what_is_no_list_of_clicks(clicks):
    with pytest.raises(InputError, match="clicks need to be a list"):
        Predictor(ToyNetwork()).segment(IMAGE, clicks)


def test_takes_clicks_one_by_one_and_refuses_numbers_beyond_all():
    predictor, clicks = Predictor(ToyNetwork()), [Click(1, 1, True), Click(9, 9, False)]
    one_by_one = predictor.segment(IMAGE, (click for click in clicks))
    np.testing.assert_array_equal(
        one_by_one.probability, predictor.segment(IMAGE, clicks).probability
    )
    with pytest.raises(InputError, match="further away"):
        predictor.segment(IMAGE, [Click(10**400, 1, True)])


@pytest.mark.parametrize("predictor_of", [Predictor, Predictor.for_benchmark])
@pytest.mark.parametrize(
    ("x", "y", "border"),
    [(-0.4, -1.0, (0.0, 0.0)), (30.7, 3.0, (30.0, 3.0)), (30.4, 20.9, (30.0, 20.0))],
)
def test_clicks_just_outside_count_as_on_the_border(predictor_of, x, y, border):
    predictor = predictor_of(ToyNetwork((32, 32)))
    result = predictor.segment(IMAGE, [Click(x, y, True)])
    inside = predictor.segment(IMAGE, [Click(*border, True)])
    np.testing.assert_array_equal(result.probability, inside.probability)
    assert result.clicks == (Click(x, y, True),), "so that the next request still matches"


def test_refuses_a_previous_result_of_other_clicks_or_another_size():
    predictor = Predictor(ToyNetwork())
    first, second, third = Click(1, 1, True), Click(2, 2, True), Click(3, 3, False)
    previous = predictor.segment(IMAGE, [first, second])
    for clicks in ([first, third], [first], [second, first, third]):
        with pytest.raises(InputError, match="give all clicks, in order"):
            predictor.segment(IMAGE, clicks, previous)
    for answer in (
        lambda: predictor.segment(IMAGE, [], previous),
        lambda: predictor.encode(IMAGE, previous),
    ):
        with pytest.raises(
            InputError, match=r"has clicks already; .*\.from_mask\(previous\.mask\)"
        ):
            answer()
    with pytest.raises(InputError, match="high and wide"):
        predictor.segment(IMAGE[:10], [first, second, third], previous)
    with pytest.raises(InputError, match="pixels high and wide"):
        predictor.segment(IMAGE.transpose(1, 0, 2), [first, second, third], previous)


@pytest.mark.parametrize("row", [0, 150, 299])
def test_refuses_a_previous_result_of_another_image(row):
    predictor, image = Predictor(ToyNetwork()), golden_loops.image()
    previous = predictor.segment(image, CLICKS[:2])
    other = image.copy()
    other[row, 7, 2] ^= 1
    for clicks in (CLICKS[:2], CLICKS[:3]):
        with pytest.raises(InputError, match=r"of another image; .*\.from_mask\(previous\.mask\)"):
            predictor.segment(other, clicks, previous)
    start = Segmentation.from_mask(previous.mask)
    corrected = predictor.segment(other, CLICKS[:1], start)
    assert predictor.segment(other, CLICKS[:2], corrected).clicks == tuple(CLICKS[:2])


@pytest.mark.parametrize(("row", "column"), [(0, 0), (1501, 701), (2990, 990)])
def test_a_large_image_is_known_by_a_part_of_any_ten_pixels_square(row, column):
    predictor = Predictor(ToyNetwork((32, 32)))
    image = np.full((3000, 1000, 3), 90, dtype=np.uint8)
    previous = predictor.segment(image, CLICKS[:1])
    edited = image.copy()
    edited[row : row + 10, column : column + 10] += 1
    with pytest.raises(InputError, match="of another image"):
        predictor.segment(edited, CLICKS[:1], previous)
    same = image[..., ::-1].copy()[..., ::-1]
    assert predictor.segment(same, CLICKS[:1], previous) is previous


def test_threads_share_a_predictor():
    predictor = Predictor.for_benchmark(ToyNetwork((64, 64)))
    image = golden_loops.image()
    jobs = [CLICKS[: 1 + i % len(CLICKS)] for i in range(24)]
    alone = [predictor.segment(image, clicks).probability for clicks in jobs]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda clicks: predictor.segment(image, clicks), jobs))
    for expected, result in zip(alone, together, strict=True):
        np.testing.assert_array_equal(result.probability, expected)
