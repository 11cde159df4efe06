"""Configurations of many labels, and clicks that name many: read in time, told in short."""

import logging

import pytest

from ml_backend.errors import LabelingConfigError
from ml_backend.label_studio.keypoints import clicked_keypoints
from ml_backend.label_studio.labeling_config import parse

# Where the work grew with the square of what is sent, these took half a minute and more.
pytestmark = pytest.mark.timeout(20)
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


NAMES = [f"{number:05d}" for number in range(20_000)]
FEW = parse(configuration(["Object", "Other"], ["Object", "Other"]))


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
