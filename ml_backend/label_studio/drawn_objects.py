"""What an annotator drew, object by object: the clicks or the box, and the id its region gets.

Region ids. Accepting a suggestion replaces the region that has its id, so an id must stay the same
while an object is refined and must never be given to another one. It is derived from the id that
Label Studio gave the object's first keypoint: the same in every process and after a restart, and
gone with the keypoint when the mask is accepted. When the first click is undone the region gets a
new id, which is harmless: nothing has been accepted under the old one.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from icmformer import Box, Click
from ml_backend.errors import RequestError
from ml_backend.label_studio.keypoints import (
    Keypoint,
    Rectangle,
    clicked_keypoints,
    drawn_rectangles,
    saved_keypoints,
)
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.short_text import listed


@dataclass(frozen=True)
class DrawnObject:
    """One object to segment.

    Attributes:
        label: its brush label.
        clicks: in order, in pixels of the upright image; none where there is a box.
        box: drawn around it.
        region_id: of the region that is answered.
    """

    label: str
    clicks: tuple[Click, ...]
    box: Box | None
    region_id: str


def drawn_objects(
    task: Mapping[str, Any],
    context: Mapping[str, Any] | None,
    config: LabelingConfig,
    size_hw: tuple[int, int],
) -> list[DrawnObject]:
    """Return the objects that were drawn just now, or, in a batch, that the task has saved.

    Smart keypoints of one label are clicks on one object; each drawn by hand marks its own.

    Args:
        task: as Label Studio serialises it.
        context: of /predict; None in a batch.
        config: of the project.
        size_hw: height and width of the upright image.

    Raises:
        RequestError: if a region that counts is malformed, or if none counts of those that were
            drawn; the text says why.
    """
    if context is None:
        keypoints = saved_keypoints(task, config, size_hw)
        by_hand = [[keypoint] for keypoint in keypoints if not keypoint.smart]
        groups = _by_label([keypoint for keypoint in keypoints if keypoint.smart]) + by_hand
        return [_clicked(task, group) for group in groups]
    result = context.get("result")
    clicked = _by_label(clicked_keypoints(result, config, size_hw))
    boxed = drawn_rectangles(task, result, config, size_hw)
    if result and not clicked and not boxed:
        raise RequestError(_why_nothing(result, config))
    return [_clicked(task, group) for group in clicked] + [_boxed(task, one) for one in boxed]


def carries_objects(task: Mapping[str, Any], config: LabelingConfig) -> bool:
    """Say whether a task of a batch has saved keypoints; its image need not be known for that.

    Raises:
        RequestError: if a keypoint is malformed.
    """
    return bool(saved_keypoints(task, config, (1, 1)))


def _why_nothing(result: Sequence[Any], config: LabelingConfig) -> str:
    kinds = {str(item.get("type")) for item in result if isinstance(item, Mapping)}
    for kind, called in (("keypointlabels", "click"), ("rectanglelabels", "rectangle")):
        if kind in kinds:
            return (
                f"the {called} has none of the brushes' labels, {listed(config.brush_labels)}, "
                "or was not made with the magic tool: give both the same labels, spelled alike, or "
                "draw it without Auto-Annotation"
            )
    return (
        f"regions of the type {listed(sorted(kinds))} are not answered: click or draw a "
        'rectangle with the magic tool, and set smart="false" on the other controls'
    )


def shown_size(context: Mapping[str, Any] | None) -> tuple[int, int] | None:
    """Return height and width of the image as the editor shows it; None if it does not say."""
    result = context.get("result") if context else None
    for item in reversed(result if isinstance(result, list) else []):
        if isinstance(item, Mapping):
            height, width = item.get("original_height"), item.get("original_width")
            if type(height) is int and type(width) is int:
                return height, width
    return None


def _by_label(keypoints: Sequence[Keypoint]) -> list[list[Keypoint]]:
    """Group the clicks of one conversation: those of a label are about one object."""
    groups: dict[str, list[Keypoint]] = {}
    for keypoint in keypoints:
        groups.setdefault(keypoint.label, []).append(keypoint)
    return list(groups.values())


def _clicked(task: Mapping[str, Any], keypoints: Sequence[Keypoint]) -> DrawnObject:
    first = keypoints[0]
    clicks = tuple(keypoint.click for keypoint in keypoints)
    return DrawnObject(first.label, clicks, None, _region_id(task, first.label, first.id))


def _boxed(task: Mapping[str, Any], drawn: Rectangle) -> DrawnObject:
    region_id = _region_id(task, drawn.label, drawn.id)
    return DrawnObject(drawn.label, (), drawn.box, region_id)


def _region_id(task: Mapping[str, Any], label: str, first_id: str) -> str:
    """Return ten hexadecimal digits; Label Studio's own ids have ten letters."""
    parts = (task.get("project"), task.get("id"), label, first_id)
    return hashlib.sha256(repr(parts).encode("utf-8", "replace")).hexdigest()[:10]
