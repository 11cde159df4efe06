"""Tables, curves and pictures of a report, from score cards made by hand."""

import base64
import itertools
import re

import cv2
import numpy as np
import pytest

from icmformer.clicks import Click
from icmformer.segmentation import Segmentation
from training.datasets.sample import EvaluationSample
from training.evaluation.benchmark_numbers import Benchmark, Entry
from training.evaluation.benchmark_runs import Protocol
from training.evaluation.click_by_click import Step
from training.evaluation.example_pictures import choose_samples, overlay, strip
from training.evaluation.figures import curve_band, iou_curves, line_chart
from training.evaluation.noc import SampleScore, ScoreCard
from training.evaluation.report import Gallery, render
from training.evaluation.report_tables import clicks_table, details, failures_table
from training.provenance import Provenance


def card(*curves, shares=None, target_iou=0.95):
    shares = shares or [0.2] * len(curves)
    samples = tuple(
        SampleScore(f"s{i}", tuple(curve), seconds=0.5 * len(curve), object_share=share)
        for i, (curve, share) in enumerate(zip(curves, shares, strict=True))
    )
    return ScoreCard(samples, 20, target_iou)


def benchmark(*cards, dataset="GrabCut", published_size=None, protocol=None):
    entries = tuple(
        Entry(f"model {i}", "a model", "", {dataset: c}, {}) for i, c in enumerate(cards)
    )
    sizes = {dataset: published_size or len(cards[0].samples)}
    where = Provenance("python -m training benchmark", "abc", "2 cores", "Python", "today")
    return Benchmark(entries, sizes, protocol or Protocol(), 1, where)


NOTHING = "\N{EN DASH}"
GOOD = card([0.86, 0.96], [0.96])
POOR = card([0.2] * 20, [0.1] * 19 + [0.91])


def test_ours_stand_above_the_published_rows_in_the_paper_s_columns():
    table = clicks_table(benchmark(GOOD, POOR))

    assert table.datasets == ("GrabCut", "Berkeley", "SBD", "DAVIS")
    assert table.metrics == ("NoC85", "NoC90")
    (title, ours), *published = table.groups
    assert title == "Measured here"
    assert [row.cells[:3] for row in ours] == [
        ("1.00", "1.50", NOTHING),
        ("20.00", "20.00", NOTHING),
    ]
    assert [title for title, _ in published] == [
        "Published, trained on PASCAL",
        "Published, trained on SBD",
        "Published, trained on COCO+LVIS",
        "Published, trained on 8 data sets",
        "Published, trained on SBD, ablations",
    ]
    assert all(row.source for _, rows in published for row in rows)


def test_data_sets_of_one_s_own_get_columns_without_published_numbers():
    table = clicks_table(benchmark(GOOD, dataset="folder:cells"))

    assert table.datasets[-1] == "folder:cells"
    assert table.groups[0][1][0].cells[-2:] == ("1.00", "1.50")
    assert all(row.cells[-2:] == (NOTHING, NOTHING) for _, rows in table.groups[1:] for row in rows)


def test_a_success_with_the_last_click_counts_as_a_failure_but_not_as_never():
    report = benchmark(POOR)

    assert failures_table(report).groups[0][1][0].cells[:2] == ("2", "2")
    (table,) = details(report)
    at_90 = table.entries[0][1]["all"][table.columns.index("≥20@90")]
    assert (at_90.text, at_90.note) == ("2", "1 never")


def test_a_run_that_stopped_at_90_says_nothing_about_95():
    protocol = Protocol(target_iou=0.9)
    report = benchmark(card([0.91], target_iou=0.9), protocol=protocol)

    assert "NoC95" not in report.text_table()
    assert "0.95" not in report.to_dict()["results"][0]["data sets"]["GrabCut"]["NoC"]


@pytest.mark.parametrize(
    ("target", "clicks", "failures"),
    [
        (0.5, ["NoC50"], ["≥20@50"]),
        (0.8, ["NoC80"], ["≥20@80"]),
        (0.875, ["NoC80", "NoC85", "NoC87.5"], ["≥20@85", "≥20@87.5"]),
        (0.95, ["NoC80", "NoC85", "NoC90", "NoC95"], ["≥20@85", "≥20@90"]),
        (1.0, ["NoC80", "NoC85", "NoC90", "NoC95"], ["≥20@85", "≥20@90"]),
    ],
)
def test_clicks_are_counted_to_where_objects_end(target, clicks, failures):
    report = benchmark(card([0.4, target], target_iou=target), protocol=Protocol(target_iou=target))

    assert report.text_table().splitlines()[0].split()[3:][: len(clicks + failures)] == [
        *clicks, *failures
    ]  # fmt: skip
    (table,) = details(report)
    assert list(table.columns[1 : 1 + len(clicks + failures)]) == [*clicks, *failures]
    assert table.entries[0][1]["all"][len(clicks)].text == "2.00"
    numbers = report.to_dict()["results"][0]["data sets"]["GrabCut"]
    assert len(numbers["NoC"]) == len(clicks)
    assert len(numbers["NoF"]) == len(failures)


@pytest.mark.parametrize(("target", "compared"), [(0.8, []), (0.875, ["85"]), (0.9, ["85", "90"])])
def test_what_ended_before_published_numbers_is_not_put_beside_them(target, compared):
    report = benchmark(card([target], target_iou=target), protocol=Protocol(target_iou=target))

    assert clicks_table(report).metrics == tuple(f"NoC{number}" for number in compared)
    page = render(report, [])
    for text in ("Clicks to a good mask", "Objects that stay out of reach", "Published, trained"):
        assert (text in page) == bool(compared)
    assert 'colspan="0"' not in page
    assert "All numbers" in page


def test_sizes_of_objects_are_broken_down():
    report = benchmark(card([0.96], [0.5, 0.96], shares=[0.5, 0.001]))

    (table,) = details(report)
    rows = table.entries[0][1]
    clicks = table.columns.index("NoC90")

    assert {size: row[clicks].text for size, row in rows.items()} == {
        "all": "1.50",
        "small": "2.00",
        "large": "1.00",
    }


@pytest.mark.parametrize(
    ("protocol", "published_size", "reason"),
    [
        (Protocol(), 50, "GrabCut: 2 of 50 objects"),
        (Protocol(annotator="jitter"), 2, "misses the centre"),
        (Protocol(start_from_mask=True), 2, "damaged mask"),
        (Protocol(max_clicks=10), 2, "after 10 clicks"),
    ],
)
def test_why_numbers_cannot_stand_beside_published_ones(protocol, published_size, reason):
    (found,) = benchmark(GOOD, protocol=protocol, published_size=published_size).deviations()

    assert reason in found


def test_the_published_protocol_needs_no_excuse():
    assert benchmark(GOOD).deviations() == []


def test_the_page_says_what_x_and_y_are_in_the_names_of_published_rows():
    page = render(benchmark(GOOD), [])

    assert "iCMFormer, X, Y, XY" in page
    assert "table 5 (direction) X is the image, Y the clicks; the last pair is XY where" in page


def test_the_page_escapes_names():
    report = benchmark(card([0.96]), dataset="folder:<script>")

    page = render(report, [])

    assert "<script>" not in page
    assert "folder:&lt;script&gt;" in page


def test_curves_are_labelled_and_repeatable():
    figure = iou_curves("GrabCut", {"good": GOOD, "poor": POOR}, (0.85, 0.9))

    assert figure == iou_curves("GrabCut", {"good": GOOD, "poor": POOR}, (0.85, 0.9))
    for text in ("GrabCut", "good", "poor", "mean IoU, 95 % band", "clicks"):
        assert f">{text}<" in figure


@pytest.mark.parametrize("name", ["a$x^$b", "_a", "$\\frac$"])
def test_names_are_written_as_they_are(name):
    curves = iou_curves(name, {name: GOOD}, ())
    lines = line_chart(name, "clicks", "IoU", {name: [(0, 1), (1, 2)]})

    for figure in (curves, lines):
        assert figure.count(f">{name}<") == 2, "the title, and in the legend"


def markers(figure):
    """Return shape and look of all markers, those of the axes among them."""
    return set(re.findall(r'<path id="m\w+" d="([^"]+)" style="([^"]+)"', figure))


@pytest.mark.parametrize("count", [8, 15])
def test_each_line_looks_different_in_grey_too(count):
    def figures(count):
        names = [str(number) for number in range(count)]
        yield iou_curves("GrabCut", dict.fromkeys(names, GOOD), ())
        yield line_chart("GrabCut", "clicks", "IoU", {key: [(0, 1), (1, 2)] for key in names})

    for alone, figure in zip(figures(1), figures(count), strict=True):
        assert len(markers(figure)) == len(markers(alone)) + count - 1
        shapes = {shape for shape, _ in markers(figure)}
        assert len(shapes) == len({shape for shape, _ in markers(alone)}) + min(count, 8) - 1


def heights(figure):
    """Return how far below the top of the picture each text of a figure begins, in points."""
    texts = re.findall(r'<text [^>]* y="(\S+)"[^>]*>([^<]+)<', figure)
    return {text: float(height) for height, text in texts}


def test_of_many_curves_the_names_stand_below_the_plot_all_of_them():
    names = [f"table8_swin_base_{number}_cross/latest" for number in range(23)]

    few, many = (iou_curves("GrabCut", dict.fromkeys(n, POOR), ()) for n in (names[:6], names))

    (whole,) = re.findall(r'viewBox="0 0 \S+ (\S+)"', many)
    texts = heights(many)
    lines = [texts["clicks"], *(texts[name] for name in names)]
    assert all(below - above > 10 for above, below in itertools.pairwise(lines))
    assert lines[-1] < float(whole)
    assert texts["clicks"] == pytest.approx(heights(few)["clicks"], abs=20), "the plot stays large"
    assert all(heights(few)[name] < heights(few)["clicks"] for name in names[:6])


@pytest.mark.parametrize(
    ("clicks", "ticks"),
    [(1, [1]), (3, [1, 2, 3]), (20, [1, *range(2, 21, 2)]), (25, [1, *range(3, 25, 3), 25])],
)
def test_the_first_click_has_a_tick_and_the_last(clicks, ticks):
    scores = ScoreCard(card([0.1] * clicks).samples, clicks, target_iou=1.0)

    axis = iou_curves("GrabCut", {"good": scores}, ()).split('id="matplotlib.axis_2"')[0]

    assert re.findall(r">(\d+)</text>", axis) == [str(tick) for tick in ticks]


def test_a_figure_is_on_white_whatever_is_behind_it():
    for figure in (iou_curves("A", {"good": GOOD}, ()), line_chart("A", "x", "y", {"a": [(0, 1)]})):
        assert 'id="patch_1"' in figure
        background = figure.split('id="patch_1"')[1].split("</g>")[0]
        assert "fill: #ffffff" in background


def test_a_dashed_line_stands_at_each_iou_that_clicks_are_counted_to():
    one, other, both = (
        iou_curves("GrabCut", {"good": GOOD}, marked) for marked in ((0.85,), (0.9,), (0.85, 0.9))
    )

    assert [figure.count("stroke-dasharray") for figure in (one, other, both)] == [1, 1, 2]
    assert one != other


def test_the_band_holds_the_curve():
    low, high = curve_band(POOR)

    assert (low <= POOR.mean_ious()).all()
    assert (POOR.mean_ious() <= high).all()


def test_what_to_look_at_is_typical_hard_or_wrong():
    scores = card(
        [0.95],
        [0.5, 0.95],
        [0.5, 0.6, 0.95],
        [0.5] * 9 + [0.95],
        [0.3] * 20,
        [0.2] * 20,
    )

    chosen = choose_samples(scores, 1)

    assert chosen == {"typical": [2], "challenging": [3], "failures": [5]}


def test_without_successes_or_failures_there_is_less_to_look_at():
    assert choose_samples(card([0.95]), 2) == {"typical": [0], "challenging": [], "failures": []}
    assert choose_samples(card([0.2] * 20), 2) == {
        "typical": [],
        "challenging": [],
        "failures": [0],
    }


def decode(url):
    content = base64.b64decode(url.removeprefix("data:image/jpeg;base64,"))
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]


def test_a_strip_shows_clicks_mask_and_probability():
    target = np.zeros((100, 200), dtype=np.int8)
    target[20:80, 40:160] = 1
    sample = EvaluationSample("box", np.full((100, 200, 3), 128, np.uint8), target)
    clicks = [Click(100.5, 50.5, True), Click(10.5, 10.5, False)]
    steps = [Step(click, Segmentation.from_mask(target), 1.0) for click in clicks]

    pictures = strip(sample, steps)

    assert [panel.caption for panel in pictures.panels] == [
        "1 click, IoU 1.000",
        "2 clicks, IoU 1.000",
    ]
    last = decode(pictures.panels[-1].overlay).astype(int)
    scale = last.shape[1] / 200
    on_object, off_object = (
        last[round(y * scale), round(x * scale)] for x, y in [(100, 50), (10, 10)]
    )
    assert on_object.argmax() == 1, "the positive click is green"
    assert off_object.argmax() == 2, "the negative click is blue"
    red, green, _ = last[round(30 * scale), round(60 * scale)]
    assert red > green + 50, "the mask is tinted"
    heat = decode(pictures.panels[-1].probability).astype(int).sum(axis=2)
    assert heat[round(50 * scale), round(100 * scale)] > heat[0, 0] + 200


@pytest.mark.parametrize(("size", "radius"), [(100, 4), (170, 4), (1020, 24)])
def test_a_click_is_seen_as_well_in_a_large_picture(size, radius):
    image, mask = np.zeros((size, 2 * size, 3), np.uint8), np.zeros((size, 2 * size), bool)

    picture = overlay(image, mask, [Click(size, size / 2, True)], scale=1)

    dot = picture.max(axis=2) > 127
    for axis in (0, 1):
        assert dot.any(axis=axis).sum() == pytest.approx(2 * radius, abs=2)


@pytest.mark.parametrize("size", [100, 1020])
def test_a_negative_click_is_told_from_a_positive_one_by_its_shape(size):
    image, mask = np.zeros((size, size, 3), np.uint8), np.zeros((size, size), bool)
    middle = size // 2

    positive, negative = (
        overlay(image, mask, [Click(middle, middle, sign)], scale=1)[
            middle - 2 : middle + 2, middle
        ]
        for sign in (True, False)
    )

    assert negative.min(axis=1).max() > 150, "a white bar"
    assert positive.min(axis=1).max() < 100


def test_the_outline_of_a_mask_is_seen_as_well_in_a_large_picture():
    image, mask = np.zeros((170, 340, 3), np.uint8), np.zeros((170, 340), bool)
    mask[60:110, 100:200] = True

    across = [overlay(image, mask, [], scale)[85 * scale, :, 1] for scale in (1, 6)]

    small, large = ((row[: len(row) // 2] > 100).sum() for row in across)
    assert large == pytest.approx(6 * small, abs=3)


def test_a_long_sample_is_shown_in_four_moments():
    target = np.ones((8, 8), dtype=np.int8)
    sample = EvaluationSample("all", np.zeros((8, 8, 3), np.uint8), target)
    steps = [Step(Click(4, 4, True), Segmentation.from_mask(target), 0.1)] * 20

    captions = [panel.caption.split(",")[0] for panel in strip(sample, steps).panels]

    assert captions == ["1 click", "7 clicks", "14 clicks", "20 clicks"]


def test_a_mask_to_start_from_is_shown_first():
    target = np.ones((8, 8), dtype=np.int8)
    start = np.arange(64).reshape(8, 8) < 16
    sample = EvaluationSample("all", np.zeros((8, 8, 3), np.uint8), target, start)
    steps = [Step(Click(4, 4, True), Segmentation.from_mask(target), 1.0)] * 9

    captions = [panel.caption.split(",")[0] for panel in strip(sample, steps).panels]

    assert captions == ["to be corrected", "1 click", "5 clicks", "9 clicks"]
    assert strip(sample, steps).panels[0].caption.endswith("IoU 0.250")


def test_pictures_find_their_way_onto_the_page():
    sample = EvaluationSample("one", np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.int8))
    steps = [Step(Click(4, 4, True), Segmentation.from_mask(sample.target), 0.25)]
    gallery = Gallery("model 0", "GrabCut", {"typical": [], "failures": [strip(sample, steps)]})

    page = render(benchmark(GOOD), [gallery])

    assert "model 0 on GrabCut" in page
    assert "1 click, IoU 0.250" in page
    assert "Failures" in page
    assert "Typical" not in page
