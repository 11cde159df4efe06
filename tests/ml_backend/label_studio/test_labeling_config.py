import json

import pytest

from ml_backend.errors import LabelingConfigError
from ml_backend.label_studio.labeling_config import Control, magic_controls, parse
from tests.ml_backend.label_studio_requests import FIXTURES

IMAGE = '<Image name="image" value="$image"/>'
LABELS = '<Label value="Object"/><Label value="Other"/>'
KEYPOINTS = f'<KeyPointLabels name="kp" toName="image" smart="true">{LABELS}</KeyPointLabels>'
BRUSH = f'<BrushLabels name="brush" toName="image" smart="false">{LABELS}</BrushLabels>'


def view(*tags):
    return f"<View>{''.join(tags)}</View>"


def test_the_recommended_configuration():
    config = parse(view(IMAGE, KEYPOINTS, BRUSH))
    assert config.image.name == "image"
    assert config.image.key == "image"
    assert config.brushes == (Control("brush", ("Object", "Other")),)
    assert config.keypoints == (Control("kp", ("Object", "Other")),)
    assert config.brush_labels == ("Object", "Other")
    assert config.brush_for("Other") == "brush"
    assert config.brush_for("Car") is None


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("predict_*.json")), ids=lambda p: p.stem)
def test_every_recorded_request_can_be_served(path):
    body = json.loads(path.read_text())["body"]
    config = parse(body["label_config"])
    assert config.brush_labels == ("Object", "Other")
    assert config.image.address(body["tasks"][0]["data"]).startswith("/data/upload/")


@pytest.mark.parametrize(
    ("attributes", "smart"),
    [
        ("", True),  # the editor's default
        ('smart="true"', True),
        ('smart="false"', False),
        ('smartOnly="true"', True),
        ('smart="false" smartOnly="true"', True),
        ('SMART="False"', False),
    ],
)
def test_smart_is_what_the_editor_takes_for_smart(attributes, smart):
    xml = view(IMAGE, BRUSH, KEYPOINTS.replace('smart="true"', attributes))
    if smart:
        assert parse(xml).keypoints
    else:
        with pytest.raises(LabelingConfigError, match='"kp" are not smart'):
            parse(xml)


@pytest.mark.parametrize(
    ("attributes", "controls"),
    [
        ("", {"kp"}),
        ('smart="false"', {"kp"}),
        ('smart="True"', {"kp", "box"}),
        ('smart="false" smartOnly="true"', {"kp", "box"}),
    ],
)
def test_a_rectangle_asks_for_a_mask_only_where_its_tag_says_so(attributes, controls):
    box = f'<RectangleLabels name="box" toName="image" {attributes}>{LABELS}</RectangleLabels>'
    assert magic_controls(view(IMAGE, KEYPOINTS, BRUSH, box)) == controls


def test_tags_may_be_nested_and_written_in_any_case():
    inner = f"<view><VIEW>{KEYPOINTS}</VIEW><!-- a comment --></view>"
    labels = f"<View><Header value='pick'/><View>{LABELS}</View></View>"
    brush = f'<brushlabels NAME="brush" toname=" other , image">{labels}</brushlabels>'
    assert parse(view(inner, brush, IMAGE)).brush_labels == ("Object", "Other")


def test_an_alias_is_the_name_that_regions_carry():
    xml = view(IMAGE, KEYPOINTS, BRUSH).replace('value="Object"', 'value="A thing" alias="Object"')
    assert parse(xml).keypoints[0].labels == ("Object", "Other")


def test_a_label_without_a_name_is_none():
    assert parse(view(IMAGE, KEYPOINTS.replace("</Key", "<Label/></Key"), BRUSH)).keypoints == (
        Control("kp", ("Object", "Other")),
    )


def test_of_several_brushes_the_one_with_the_label_answers():
    second = '<BrushLabels name="water" toName="image"><Label value="Sea"/></BrushLabels>'
    stray = f'<BrushLabels name="stray" toName="elsewhere">{LABELS}</BrushLabels>'
    sea = KEYPOINTS.replace("</Key", '<Label value="Sea"/></Key')
    config = parse(view(IMAGE, stray, second, BRUSH, sea))
    assert [brush.name for brush in config.brushes] == ["water", "brush"]
    assert config.brush_for("Object") == "brush"
    assert config.brush_for("Sea") == "water"


def test_brushes_and_rectangles_may_have_labels_of_their_own():
    brush = BRUSH.replace("</Brush", '<Label value="By hand only"/></Brush')
    boxes = '<RectangleLabels name="box" toName="image"><Label value="Crop"/></RectangleLabels>'
    by_hand = boxes.replace('"box"', '"hand" smart="false"')
    elsewhere = boxes.replace('"image"', '"photo" smart="true"')
    of_the_task = '<RectangleLabels name="own" toName="image" smart="true" value="$labels"/>'
    config = parse(view(IMAGE, KEYPOINTS, brush, boxes, by_hand, elsewhere, of_the_task))
    assert config.brush_labels == ("Object", "Other", "By hand only")


@pytest.mark.parametrize("smart", ['smart="true"', 'smart="false" smartOnly="true"'])
def test_a_box_that_asks_for_masks_has_labels_of_one_brush(smart):
    box = f'<RectangleLabels name="box" toName="image" {smart}>{LABELS}</RectangleLabels>'
    assert parse(view(IMAGE, KEYPOINTS, BRUSH, box)).brush_labels == ("Object", "Other")
    with pytest.raises(LabelingConfigError, match='"object" of the rectangles "box" is no label'):
        parse(view(IMAGE, KEYPOINTS, BRUSH, box.replace("Object", "object")))
    both = '<Label value="Both"/>'
    brush = BRUSH.replace("</Brush", f"{both}</Brush")
    second = f'<BrushLabels name="second" toName="image">{both}</BrushLabels>'
    box = box.replace("</Rect", f"{both}</Rect")
    with pytest.raises(LabelingConfigError, match='"Both" of the rectangles "box" is a label of s'):
        parse(view(IMAGE, KEYPOINTS, brush, second, box))


@pytest.mark.parametrize(
    ("value", "data", "address"),
    [
        ("$image", {"image": "/data/a.jpg"}, "/data/a.jpg"),
        ("$image", {"text": "hello"}, ""),
        ("$image", {"image": ["not", "text"]}, ["not", "text"]),
        ("$photo.url", {"photo": {"url": "a.jpg"}}, "a.jpg"),
        ("$photo.url", {"photo.url": "a.jpg"}, "a.jpg"),
        ("$photos[1].url", {"photos": [{}, {"url": "b.jpg"}]}, "b.jpg"),
        ("$photos[1]", {"photos": ["a.jpg"]}, ""),
        ("$photos[7]", {"photos": ["a.jpg"]}, ""),
        ("$photo.url", {"photo": "a.jpg"}, ""),
        ("$photos.²", {"photos": ["a.jpg"]}, ""),
        (f"$photos.{'1' * 5000}", {"photos": ["a.jpg"]}, ""),
        ("https://example.com/$a/$b", {"a": 4, "b": "c.jpg"}, "https://example.com/4/c.jpg"),
    ],
)
def test_where_a_task_keeps_its_image(value, data, address):
    config = parse(view(IMAGE.replace("$image", value), KEYPOINTS, BRUSH))
    assert config.image.address(data) == address


@pytest.mark.parametrize(
    ("xml", "sentence"),
    [
        ("", "no labelling configuration"),
        (None, "no labelling configuration"),
        ("<View>", "not XML"),
        ("\ud800", "not XML"),
        ("<View>" * 300 + "</View>" * 300, "not XML"),
        (" " + "<View/>" * 200_000, "exceeds 1000000"),
        (view(KEYPOINTS, BRUSH), r'add <Image name="image" value="\$image"/>'),
        (
            view(IMAGE, '<Image name="b" value="$b"/>', KEYPOINTS),
            r'several images \("image", "b"\)',
        ),
        (view('<Image name="image" valueList="$images"/>', KEYPOINTS, BRUSH), "list of images"),
        (
            view(
                '<Repeater on="$images"><Image name="image" value="$images[{{idx}}]"/></Repeater>'
            ),
            "list of images",
        ),
        (
            view(
                '<Repeater on="$images" indexFlag="{n}"><Image name="i" value="$a[{n}].url"/>'
                "</Repeater>"
            ),
            "list of images",
        ),
        (view('<Image name="image" value="a.jpg"/>', KEYPOINTS, BRUSH), "needs a name and a value"),
        (view(IMAGE.replace("$image", "$image[²]")), "needs a name and a value"),
        (view(IMAGE.replace("$image", f"$a$b[{'1' * 5000}]")), "needs a name and a value"),
        (view('<Image value="$image"/>', KEYPOINTS, BRUSH), "needs a name and a value"),
        (view(IMAGE, KEYPOINTS), 'add <BrushLabels name="brush" smart="false" toName="image">'),
        (view(IMAGE, KEYPOINTS, '<Brush name="b" toName="image"/>'), "has no <BrushLabels>"),
        (
            view(IMAGE, KEYPOINTS, BRUSH.replace("image", "photo")),
            'no <BrushLabels> belongs to the image: set toName="image" on "brush"',
        ),
        (view(IMAGE, BRUSH), 'add <KeyPointLabels name="keypoint" smart="true" smartOnly'),
        (view(IMAGE, BRUSH, KEYPOINTS.replace("true", "false")), 'smart="true" smartOnly="true"'),
        (
            view(IMAGE, BRUSH, KEYPOINTS.replace("image", "photo")),
            'no <KeyPointLabels> belongs to the image: set toName="image" on "kp"',
        ),
        (
            view(IMAGE, BRUSH, KEYPOINTS.replace("Object", "object").replace("Other", "Sky")),
            '"object", "Sky" of the keypoints "kp" is no label of the brush "brush", which has '
            '"Object", "Other"',
        ),
        (
            view(IMAGE, BRUSH, KEYPOINTS, KEYPOINTS.replace("kp", "eyes").replace("Other", "Eye")),
            '"Eye" of the keypoints "eyes" .* if these points are no clicks, set smart="false"',
        ),
        (
            view(IMAGE, BRUSH, BRUSH.replace('"brush"', '"lung"'), KEYPOINTS),
            '"Object" of the keypoints "kp" is a label of several brushes \\("brush", "lung"\\)',
        ),
        (view(IMAGE, BRUSH, KEYPOINTS.replace(LABELS, "")), 'keypoints "kp" have no labels'),
        (view(IMAGE, BRUSH.replace(LABELS, ""), KEYPOINTS), 'brush "brush" has no labels'),
        (
            view(IMAGE, BRUSH, KEYPOINTS.replace("smart=", 'value="$labels" smart=')),
            'labels of "kp"',
        ),
        (
            view(IMAGE, BRUSH, KEYPOINTS.replace("smart=", 'apiUrl="https://l.example" smart=')),
            'labels of "kp" come from',
        ),
        (view(IMAGE, BRUSH.replace("Object", "$first"), KEYPOINTS), 'labels of "brush" come from'),
    ],
)
def test_each_mistake_is_named_with_what_to_change(xml, sentence):
    with pytest.raises(LabelingConfigError, match=sentence):
        parse(xml)


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE v [<!ENTITY e SYSTEM "file:///etc/hostname">]>',
        '<!DOCTYPE v [<!ENTITY a "ha"><!ENTITY e "&a;&a;&a;">]>',
        '<!DOCTYPE v SYSTEM "http://127.0.0.1:1/x.dtd">',
    ],
)
def test_no_entities_and_no_files_of_this_machine(doctype):
    with pytest.raises(LabelingConfigError, match="DOCTYPE"):
        parse(doctype + view(IMAGE, KEYPOINTS.replace("Other", "&e;" * ("ENT" in doctype)), BRUSH))


def test_a_declared_encoding_does_not_matter():
    xml = '<?xml version="1.0" encoding="utf-16"?>' + view(IMAGE, KEYPOINTS, BRUSH)
    assert parse(xml.replace("Other", "Größe")).brush_labels == ("Object", "Größe")
