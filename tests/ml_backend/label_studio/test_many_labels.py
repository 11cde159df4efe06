"""Configurations of many labels, and clicks that name many: read in time, told in short."""

import logging
from time import thread_time

import pytest

from ml_backend.errors import LabelingConfigError, RequestError
from ml_backend.label_studio.keypoints import MAX_KEYPOINTS, clicked_keypoints, drawn_rectangles
from ml_backend.label_studio.labeling_config import parse

IMAGE = '<Image name="image" value="$image"/>'


def control(kind, name, labels):
    tags = "".join(f'<Label value="{label}"/>' for label in labels)
    return f'<{kind} name="{name}" toName="image" smart="true">{tags}</{kind}>'


def configuration(clicked, painted):
    keypoints = control("KeyPointLabels", "kp", clicked)
    return f"<View>{IMAGE}{keypoints}{control('BrushLabels', 'brush', painted)}</View>"


def keypoint(labels, **changes):
    value = {"x": 50, "y": 50, "keypointlabels": labels}
    item = {"type": "keypointlabels", "id": "kp1", "from_name": "kp", "value": value}
    return {**item, "is_positive": True, **changes}


def clicked_labels(items, config):
    return [one.label for one in clicked_keypoints(items, config, (9, 9))]


@pytest.fixture(autouse=True)
def _in_time():
    """Where the work grew with the square of what is sent, these took half a minute and more."""
    before = thread_time()  # while other programs run, no time passes
    yield
    assert thread_time() - before < 20


NAMES = [f"{number:05d}" for number in range(20_000)]
FEW = parse(configuration(["Object", "Other"], ["Object", "Other"]))


def test_each_of_twenty_thousand_labels_finds_its_brush():
    config = parse(configuration(NAMES, NAMES))
    assert config.brush_labels == tuple(NAMES)
    assert {config.brush_for(name) for name in NAMES} == {"brush"}


def test_thousands_of_controls_are_read():
    brushes = [control("BrushLabels", f"b{name}", [name]) for name in NAMES[:5000]]
    keypoints = [control("KeyPointLabels", f"k{name}", NAMES[:1]) for name in NAMES[:5000]]
    config = parse(f"<View>{IMAGE}{''.join(brushes + keypoints)}</View>")
    assert config.brush_for(NAMES[4999]) == f"b{NAMES[4999]}"
    assert len(config.keypoints) == 5000


def test_a_label_is_that_of_the_innermost_control_around_it():
    inner = control("BrushLabels", "brush", NAMES)
    around = f"{'<KeyPointLabels>' * 200}{inner}{'</KeyPointLabels>' * 200}"
    keypoints = control("KeyPointLabels", "kp", NAMES[:1])
    config = parse(f"<View>{IMAGE}<View>{around}</View>{keypoints}</View>")
    assert config.brushes[0].labels == tuple(NAMES)
    assert [one.name for one in config.keypoints] == ["kp"]


def test_a_label_that_a_click_names_often_counts_once():
    assert clicked_labels([keypoint(["Object", "Other", "Object"])], FEW) == ["Object", "Other"]
    drawn = {
        "type": "rectanglelabels",
        "value": {"x": 1, "y": 1, "width": 5, "height": 5, "rectanglelabels": ["Object"] * 3},
    }
    assert [one.label for one in drawn_rectangles({}, [drawn], FEW, (9, 9))] == ["Object"]


def test_keypoints_are_counted_once_for_each_of_their_labels():
    pair = keypoint(["Object", "Other"])
    assert len(clicked_labels([pair] * (MAX_KEYPOINTS // 2), FEW)) == MAX_KEYPOINTS
    with pytest.raises(RequestError, match=r"1002 keypoints, .* are more than the 1000 served"):
        clicked_labels([pair] * (MAX_KEYPOINTS // 2 + 1), FEW)


def test_keypoints_of_thousands_of_controls_are_sorted_out():
    keypoints = [control("KeyPointLabels", f"k{name}", ["a"]) for name in NAMES[:8000]]
    config = parse(f"<View>{IMAGE}{control('BrushLabels', 'b', ['a'])}{''.join(keypoints)}</View>")
    others = [keypoint(["a"], from_name="another"), keypoint(["a"], from_name=["k00000"])]
    mine = keypoint(["a"], from_name="k00000")
    assert clicked_labels([*others * 50_000, mine], config) == ["a"]


def test_a_rectangle_whose_place_is_no_number_is_compared_all_the_same():
    value = {"x": 1, "y": 1, "width": 5, "height": 5, "rectanglelabels": ["Object"]}
    odd = {"type": "rectanglelabels", "value": {**value, "x": [1]}}
    drawn = {"type": "rectanglelabels", "value": value}
    task = {"annotations": [{"result": [{**odd, "id": n} for n in range(3)]}]}
    assert len(drawn_rectangles(task, [odd, drawn], FEW, (9, 9))) == 1


def test_thousands_of_rectangles_of_one_id_are_compared():
    values = [{"x": n / 1000, "y": 1, "width": 5, "height": 5} for n in range(60_000)]
    items = [{"type": "rectanglelabels", "id": "r1", "value": value} for value in values]
    items[-1]["value"]["rectanglelabels"] = ["Object"]
    task = {"predictions": [{"result": items[:30_000]}]}
    assert len(drawn_rectangles(task, items[30_000:], FEW, (9, 9))) == 1


def test_names_that_no_brush_has_are_logged_in_short(caplog):
    names = ["Object", "x" * 1_000_000, *NAMES, *NAMES]
    with caplog.at_level(logging.WARNING):
        assert clicked_labels([keypoint(names)], FEW) == ["Object"]
    (message,) = caplog.messages
    assert message.endswith(f"'{NAMES[8]}' and 19991 more")
    assert len(message) < 300


@pytest.mark.parametrize(
    "xml",
    [
        configuration(NAMES, ["Object"]),
        configuration(["Object"], NAMES),
        configuration(["x" * 900_000], ["Object"]),
        configuration(["x" * 300_000], ["x" * 300_000]).replace(
            "</View>", control("BrushLabels", "b2", ["x" * 300_000]) + "</View>"
        ),
        configuration(["$" + "x" * 1000], ["Object"]).replace('"kp"', f'"{"k" * 900_000}"'),
        f"<View>{IMAGE.replace('image', 'i' * 300_000)}</View>",
        f"<View>{IMAGE * 20_000}</View>",
        f"<{'x' * 40_000}></View>",
    ],
)
def test_a_refusal_does_not_grow_with_the_configuration(xml):
    with pytest.raises(LabelingConfigError) as refusal:
        parse(xml)
    assert len(str(refusal.value)) < 1000
