"""What an annotator drew, object by object: the clicks or the box, and the id its region gets.

Region ids. Accepting a suggestion replaces the region that has its id, so an id must stay the same
while an object is refined and must never be given to another one. It is derived from the id that
Label Studio gave the object's first keypoint: the same in every process and after a restart, and
gone with the keypoint when the mask is accepted. When the first click is undone the region gets a
new id, which is harmless: nothing has been accepted under the old one.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

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

# Points less than this many pixels apart are one place, clicked twice.
_SAME_PLACE = 3.0


@dataclass(frozen=True)
class DrawnObject:
    """One object to segment.

    Attributes:
        label: its brush label.
        clicks: in order, in pixels of the upright image; none where there is a box.
        box: drawn around it.
        region_id: of the region that is answered.
        marked: of one that a point drawn by hand marks, such points of all objects of its label,
            its own among them; of any other none.
    """

    label: str
    clicks: tuple[Click, ...]
    box: Box | None
    region_id: str
    marked: tuple[Click, ...] = ()

    def other_in(self, mask: NDArray[np.bool_]) -> Click | None:
        """Return an Alt+click on another object that a mask of this one holds the point of.

        Args:
            mask: (H, W) bool, of the upright image.

        Returns:
            On the nearest such point; None where there is none.
        """
        held = [point for point in self.marked if mask[int(point.y), int(point.x)]]
        others = [point for point in held if self._distance(point) >= _SAME_PLACE]
        nearest = min(others, key=self._distance, default=None)
        return replace(nearest, positive=False) if nearest else None

    def _distance(self, point: Click) -> float:
        own = self.clicks[0]
        return math.hypot(point.x - own.x, point.y - own.y)


def drawn_objects(
    task: Mapping[str, Any],
    context: Mapping[str, Any] | None,
    config: LabelingConfig,
    size_hw: tuple[int, int],
) -> list[DrawnObject]:
    """Return the objects that were drawn just now, or, in a batch, that the task has saved.

    Smart keypoints of one label are clicks on one object; each drawn by hand marks its own, and
    says where the others of its label are not.

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
        clicked = _by_label([keypoint for keypoint in keypoints if keypoint.smart])
        by_hand = _by_label([keypoint for keypoint in keypoints if not keypoint.smart])
        marked = [one for group in by_hand for one in _marked(task, group)]
        return [_clicked(task, group) for group in clicked] + marked
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


def _marked(task: Mapping[str, Any], keypoints: Sequence[Keypoint]) -> list[DrawnObject]:
    """Make each keypoint of a label an object; all of them share one list of points."""
    marked = tuple(keypoint.click for keypoint in keypoints)
    return [replace(_clicked(task, [keypoint]), marked=marked) for keypoint in keypoints]


def _boxed(task: Mapping[str, Any], drawn: Rectangle) -> DrawnObject:
    region_id = _region_id(task, drawn.label, drawn.id)
    return DrawnObject(drawn.label, (), drawn.box, region_id)


def _region_id(task: Mapping[str, Any], label: str, first_id: str) -> str:
    """Return ten hexadecimal digits; Label Studio's own ids have ten letters."""
    parts = (task.get("project"), task.get("id"), label, first_id)
    return hashlib.sha256(repr(parts).encode("utf-8", "replace")).hexdigest()[:10]
