"""Label Studio's keypoints and rectangles, in percent → clicks and boxes, in pixels.

What counts as a click: while an annotator clicks, Label Studio sends all keypoints of one label, in
the order they were made, including ones that were saved earlier or drawn by hand. Only those of the
present object carry `is_positive`, at the top level of the item, as true or false. Every other item
is left out; reading a missing `is_positive` as "negative" would carve holes into the mask. So are
keypoints of other controls, such as landmarks, and the second item that is saved of a mask that was
accepted while a label was chosen: of the label's type, with the mask in place of a point.

In a batch there is no present object. There, keypoints saved in an annotation or prediction without
`is_positive` are what somebody drew by hand to mark an object each, and count as positive.

x and y are percentages of the upright image, in its unrotated frame even while the annotator views
it rotated; so `image_rotation` needs no attention. Where saved clicks lie is looked up by
`ml_backend.label_studio.accepted_objects` itself, which works without torch.
"""

import logging
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from icmformer.box import Box
from icmformer.clicks import Click
from ml_backend.errors import RequestError
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.label_studio.regions import is_brush
from ml_backend.short_text import listed, shortened

MAX_KEYPOINTS = 1000
# The editor keeps regions within the image up to rounding.
_TOLERANCE_PERCENT = 1e-3

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Keypoint:
    """A keypoint that counts.

    Attributes:
        id: Label Studio's, the same for as long as the keypoint exists.
        label: one of its labels that a brush has as well.
        click: where and of which sign.
        smart: whether it was clicked for this backend, not drawn by hand.
    """

    id: str
    label: str
    click: Click
    smart: bool


@dataclass(frozen=True)
class Rectangle:
    """A smart rectangle: Label Studio's id, a label that a brush has as well, and the box."""

    id: str
    label: str
    box: Box


def clicked_keypoints(
    result: Any, config: LabelingConfig, size_hw: tuple[int, int]
) -> list[Keypoint]:
    """Return what an annotator is clicking, in order; a keypoint of two labels comes twice.

    Args:
        result: `params.context.result` of /predict.
        config: labels it does not know are left out, with a line in the log.
        size_hw: height and width of the upright image.

    Raises:
        RequestError: if an item that counts is malformed; the text names it.
    """
    return _keypoints(_items(result, "keypointlabels"), config, size_hw, is_positive=None)


def drawn_rectangles(
    task: Mapping[str, Any], result: Any, config: LabelingConfig, size_hw: tuple[int, int]
) -> list[Rectangle]:
    """Return the rectangle that an annotator has just drawn; one of two labels comes twice.

    Label Studio sends all of a label, also those that were drawn by hand, saved, or predicted. So
    the last one counts that the task does not already carry as it is, in an annotation, a draft or
    a prediction, and only where it carries all of them, the last of all.

    Args:
        task: as Label Studio serialises it.
        result: `params.context.result` of /predict.
        config: labels it does not know are left out, with a line in the log.
        size_hw: height and width of the upright image.

    Raises:
        RequestError: if it is malformed; the text names it.
    """
    items = [
        item for item in _items(result, "rectanglelabels") if item.get("origin") != "prediction"
    ]
    if not items:
        return []
    known = _known_places(task)
    new = [item for item in items if _place(item) not in known.get(str(item.get("id")), ())]
    last = (new or items)[-1]
    box = _box(last, size_hw)
    return [Rectangle(_id(last), name, box) for name in _known_labels(last, config)]


def saved_keypoints(
    task: Mapping[str, Any], config: LabelingConfig, size_hw: tuple[int, int]
) -> list[Keypoint]:
    """Return the keypoints a task already carries, in order.

    The newest annotation with keypoints is taken, whether they are smart or were drawn by hand;
    only where no annotation has any, the newest prediction.

    Raises:
        RequestError: if a keypoint is malformed; the text names it.
    """
    for kind in ("annotations", "predictions"):
        for entry in _newest_first(task.get(kind)):
            items = _items(entry.get("result"), "keypointlabels")
            keypoints = _keypoints(items, config, size_hw, is_positive=True)
            if keypoints:
                return keypoints
    return []


def _known_places(task: Mapping[str, Any]) -> dict[str, set[tuple[Hashable, ...]]]:
    """Return where the rectangles are that a task carries, by id."""
    places: dict[str, set[tuple[Hashable, ...]]] = {}
    for kind in ("annotations", "drafts", "predictions"):
        for entry in _newest_first(task.get(kind)):
            for item in _items(entry.get("result"), "rectanglelabels"):
                places.setdefault(str(item.get("id")), set()).add(_place(item))
    return places


def _place(item: Mapping[str, Any]) -> tuple[Hashable, ...]:
    value = item.get("value")
    keys = ("x", "y", "width", "height", "rotation")
    numbers = [value.get(key) for key in keys] if isinstance(value, Mapping) else []
    return tuple(number if isinstance(number, Hashable) else None for number in numbers)


def _newest_first(saved: Any) -> list[Mapping[str, Any]]:
    """Return annotations or predictions, without those the annotator skipped."""
    if not isinstance(saved, list):
        return []
    entries = [e for e in saved if isinstance(e, Mapping) and not e.get("was_cancelled")]
    return sorted(entries, key=lambda entry: str(entry.get("updated_at") or ""), reverse=True)


def _items(result: Any, kind: str) -> list[Mapping[str, Any]]:
    """Return the regions of a type, without those that are masks whatever their type says."""
    if result is None:
        return []
    if not isinstance(result, list):
        raise RequestError('"result" must be a list of regions')
    items = [item for item in result if isinstance(item, Mapping) and item.get("type") == kind]
    return [item for item in items if not is_brush(item)]


def _keypoints(
    items: Sequence[Mapping[str, Any]],
    config: LabelingConfig,
    size_hw: tuple[int, int],
    *,
    is_positive: bool | None,
) -> list[Keypoint]:
    """Read keypoints; one that does not say `is_positive` is this, or left out."""
    controls = {control.name for control in config.keypoints}
    counting = [
        (item, positive)
        for item in items
        if isinstance(name := item.get("from_name"), str)
        and name in controls
        and isinstance(positive := _sign(item, is_positive), bool)
    ]
    _check_number(len(counting))
    keypoints: list[Keypoint] = []
    for item, positive in counting:
        click, labels = _click(item, size_hw, positive), _known_labels(item, config)
        _check_number(len(keypoints) + len(labels))
        smart = item.get("is_positive") is not None
        keypoints += [Keypoint(_id(item), label, click, smart) for label in labels]
    return keypoints


def _check_number(keypoints: int) -> None:
    if keypoints > MAX_KEYPOINTS:
        raise RequestError(
            f"{keypoints} keypoints, each counted once for each of its labels, are more than the "
            f"{MAX_KEYPOINTS} served here"
        )


def _sign(item: Mapping[str, Any], otherwise: bool | None) -> Any:
    said = item.get("is_positive")
    return otherwise if said is None else said


def _known_labels(item: Mapping[str, Any], config: LabelingConfig) -> list[str]:
    value = _value(item)
    names = value.get(str(item["type"])) or value.get("labels")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise RequestError(f"{_name(item)} has no list of labels")
    once = dict.fromkeys(names)
    unknown = [name for name in once if config.brush_for(name) is None]
    if unknown:
        _log.warning("%s has labels that no brush has: %s", _name(item), listed(unknown, "'"))
    return [name for name in once if config.brush_for(name) is not None]


def _click(item: Mapping[str, Any], size_hw: tuple[int, int], positive: bool) -> Click:
    height, width = size_hw
    return Click(_pixels(item, "x", width), _pixels(item, "y", height), positive)


def _box(item: Mapping[str, Any], size_hw: tuple[int, int]) -> Box:
    """Return what the image shows of a rectangle, which may be rotated about its first corner."""
    height, width = size_hw
    x, y = _percent(item, "x") / 100 * width, _percent(item, "y") / 100 * height
    # Rotated, a rectangle may be longer than the side of the image it is measured along.
    across = _number(item, "width") / 100 * width
    down = _number(item, "height") / 100 * height
    angle = math.radians(_number(item, "rotation") if "rotation" in _value(item) else 0.0)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    unit = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    corners = unit * [across, down] @ turn + [x, y]
    if tilted := math.degrees(angle) % 90 != 0:
        image = (unit * [width, height]).astype(np.float32)
        _, seen = cv2.intersectConvexConvex(corners.astype(np.float32), image)
        corners = np.zeros((1, 2)) if seen is None else seen.reshape(-1, 2).astype(float)
    left, top = np.clip(corners.min(axis=0), 0, [width, height]).tolist()
    right, bottom = np.clip(corners.max(axis=0), 0, [width, height]).tolist()
    if not (right > left and bottom > top):
        raise RequestError(f"{_name(item)} has no area inside the image")
    return Box(left, top, right, bottom, corners=corners if tilted else ())


def _pixels(item: Mapping[str, Any], key: str, length: int) -> float:
    """Return a coordinate in pixels, on the last pixel rather than on the far edge of the image."""
    pixels = _percent(item, key) / 100 * length
    return min(max(pixels, 0.0), math.nextafter(length, 0))


def _percent(item: Mapping[str, Any], key: str) -> float:
    percent = _number(item, key)
    if not -_TOLERANCE_PERCENT <= percent <= 100 + _TOLERANCE_PERCENT:
        raise RequestError(f'{_name(item)}: "{key}" is {percent:g}, outside 0 to 100 percent')
    return percent


def _number(item: Mapping[str, Any], key: str) -> float:
    number = _value(item).get(key)
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise RequestError(f'{_name(item)}: "{key}" is not a number')
    # Also true of NaN, of infinity, and of whole numbers too long for a float.
    if not abs(number) <= 1e9:
        raise RequestError(f'{_name(item)}: "{key}" is not a usable number')
    return float(number)


def _value(item: Mapping[str, Any]) -> Mapping[str, Any]:
    value = item.get("value")
    if not isinstance(value, Mapping):
        raise RequestError(f'{_name(item)} has no "value"')
    return value


def _id(item: Mapping[str, Any]) -> str:
    """Return Label Studio's id; of an item without one, its place."""
    value = _value(item)
    return str(item.get("id") or (value.get("x"), value.get("y")))


def _name(item: Mapping[str, Any]) -> str:
    kind = "keypoint" if item.get("type") == "keypointlabels" else "rectangle"
    return f"{kind} {shortened(str(item.get('id', '?')), 40)!r}"
