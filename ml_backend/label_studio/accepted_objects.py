"""From the regions of a saved annotation to the objects that the annotator accepted.

Each brush region is one object, except where several regions are one: regions that people joined
in Label Studio (a parent, or a relation), and regions of one label of which one largely covers the
other, as when a stroke was added to a mask or a suggestion was accepted twice. Regions of different
objects may overlap; each keeps its own pixels. Where a file was replaced by one of another size,
regions of both sizes are in one annotation; those of the size that the image has now are taken.

A few hundred bytes can announce gigabytes of mask. So masks are decoded once the image is known,
which is within the operator's limits, and only those of its size.
"""

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from ml_backend.errors import BrushRLEError
from ml_backend.label_studio.regions import decode_region, is_brush, label_of, painted_size
from ml_backend.short_text import listed, shortened
from training.store.object_mask import AcceptedObject, ObjectMask, union

SAME_OBJECT_OVERLAP = 0.5  # of the smaller region's pixels
# Types that somebody may have meant as a mask: `polygon`, `polygonlabels`, …
_SHAPES = ("polygon", "ellipse", "rectangle", "bitmask", "vector")
# A byte each, in the crops of an annotation; after these no other mask is decoded.
_MOST_PIXELS = 2_000_000_000
Result = Sequence[Mapping[str, Any]]
Relations = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class AcceptedRegions:
    """What an annotation holds for training.

    Attributes:
        objects: the accepted objects.
        labels_without_mask: labels that were clicked, or drawn a magic rectangle with, but whose
            mask was not saved.
        unreadable: sentences about masks that could not be read.
        notes: these, and sentences about what else was left out.
    """

    objects: tuple[AcceptedObject, ...]
    labels_without_mask: tuple[str, ...]
    unreadable: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Painted:
    """A brush region that is not decoded yet."""

    id: str
    item: Mapping[str, Any]
    size_hw: tuple[int, int]


@dataclass(frozen=True)
class _Region:
    id: str
    label: str
    mask: ObjectMask
    parent: str


@dataclass(frozen=True)
class PaintedRegions:
    """The masks of an annotation, each of the size of the image it was painted on.

    Attributes:
        regions: those that say their size.
        relations: pairs of ids of regions that people joined.
        others: what else was drawn on the image, as Label Studio serialises it, without the points
            of controls that clicks do not come from.
        boxes: those of the others that are magic rectangles: drawn to be answered with a mask.
        unreadable: sentences about masks that do not say their size.
    """

    regions: tuple[_Painted, ...]
    relations: Relations
    others: tuple[Mapping[str, Any], ...]
    boxes: tuple[Mapping[str, Any], ...]
    unreadable: tuple[str, ...]

    @property
    def size_hw(self) -> tuple[int, int] | None:
        """Of the image that most regions were painted on, of a tie the last; None without any."""
        counted = Counter(region.size_hw for region in reversed(self.regions))
        return max(counted, key=counted.__getitem__, default=None)


def painted_regions(
    result: Result, image_name: str, magic_controls: Container[str]
) -> PaintedRegions:
    """Read the `result` of a saved annotation, without decoding any mask.

    Args:
        result: its items, as Label Studio serialises them.
        image_name: name of the <Image> tag; regions on other tags are left alone.
        magic_controls: names of the controls that masks are asked for with.
    """
    items = [item for item in result if isinstance(item, Mapping) and _is_on(item, image_name)]
    regions, unreadable = _brush_regions(items)
    # A mask that was accepted while a label was chosen is saved once more with the label's type.
    others = tuple(
        item
        for item in items
        if not is_brush(item)
        and (item.get("type") != "keypointlabels" or item.get("from_name") in magic_controls)
    )
    boxes = tuple(
        item
        for item in others
        if item.get("type") == "rectanglelabels"
        and item.get("from_name") in magic_controls
        and item.get("origin") != "prediction"
    )
    return PaintedRegions(tuple(regions), _relations(result), others, boxes, tuple(unreadable))


def accepted_regions(painted: PaintedRegions, size_hw: tuple[int, ...] | None) -> AcceptedRegions:
    """Return what was accepted on an image.

    Args:
        painted: what its annotation holds.
        size_hw: height and width of the upright image; None where nothing was painted.
    """
    unreadable, notes = list(painted.unreadable), list[str]()
    regions = _decoded(painted.regions, size_hw, unreadable, notes)
    objects = tuple(_joined(group) for group in _groups(regions, painted.relations))
    clicked = _clicked_without_mask(painted.others, objects)
    # Beside a mask nothing says whether a rectangle's was accepted: it may cover little of it.
    boxes = () if objects or unreadable else painted.boxes
    boxed = tuple(dict.fromkeys(_drawn_label(box) for box in boxes))
    left_out = _left_out(item for item in painted.others if item not in boxes)
    forgotten = (*_forgotten("clicks", clicked), *_forgotten("a rectangle", boxed))
    return AcceptedRegions(
        objects=objects,
        labels_without_mask=tuple(dict.fromkeys(clicked + boxed)),
        unreadable=tuple(unreadable),
        notes=(*forgotten, *unreadable, *notes, *left_out),
    )


def region_labels(result: Result) -> dict[str, str]:
    """Return the label of each brush region by its id, without reading any mask."""
    labels: dict[str, str] = {}
    for item in result:
        if isinstance(item, Mapping) and item.get("id") and is_brush(item):
            name = str(item["id"])
            labels[name] = label_of(item) or labels.get(name, "")
    return labels


def _is_on(item: Mapping[str, Any], image_name: str) -> bool:
    return item.get("to_name") == image_name


def _brush_regions(items: Iterable[Mapping[str, Any]]) -> tuple[list[_Painted], list[str]]:
    """Return the brush regions that say their size, and sentences about the others."""
    regions: list[_Painted] = []
    unreadable: list[str] = []
    for number, item in enumerate(items):
        if is_brush(item):
            name = str(item.get("id") or f"#{number}")
            try:
                regions.append(_Painted(name, item, painted_size(item, name)))
            except BrushRLEError as error:
                unreadable.append(str(error))
    return regions, unreadable


def _decoded(
    painted: Iterable[_Painted],
    size_hw: tuple[int, ...] | None,
    unreadable: list[str],
    notes: list[str],
) -> list[_Region]:
    """Decode the regions of an image one by one; what cannot be used is said in the lists."""
    regions: dict[str, _Region] = {}
    pixels = 0
    for found in painted:
        if found.size_hw != size_hw:
            unreadable.append(
                f"region '{shortened(found.id)}' was painted on an image of another size"
            )
            continue
        if pixels > _MOST_PIXELS:
            unreadable.append(
                f"region '{shortened(found.id)}' is left out: the others fill the memory"
            )
            continue
        try:
            mask = ObjectMask.of(decode_region(found.item, found.id))
        except BrushRLEError as error:
            unreadable.append(str(error))
            continue
        if mask.area == 0:
            notes.append(f"region '{shortened(found.id)}' is empty")
            continue
        parent = str(found.item.get("parentID") or "")
        region = _Region(found.id, label_of(found.item), mask, parent)
        # Brush and labels as separate controls save an object as two items of one id.
        if region.label or found.id not in regions:
            regions[found.id] = region
            pixels += mask.crop.size
    return list(regions.values())


def _relations(result: Result) -> Relations:
    return tuple(
        (str(item.get("from_id")), str(item.get("to_id")))
        for item in result
        if isinstance(item, Mapping) and item.get("type") == "relation"
    )


def _groups(regions: list[_Region], relations: Relations) -> list[list[_Region]]:
    """Return the regions of each object, in the order in which they were drawn."""
    last_of = list(range(len(regions)))  # by region: the number of the last one of its object
    for pair in chain(_joined_by_people(regions, relations), _overlapping(regions)):
        gone, last = sorted(last_of[number] for number in pair)
        if gone != last:
            last_of = [last if found == gone else found for found in last_of]
    groups: dict[int, list[_Region]] = {}
    for last, region in zip(last_of, regions, strict=True):
        groups.setdefault(last, []).append(region)
    return [groups[last] for last in sorted(groups)]


def _joined_by_people(regions: list[_Region], relations: Relations) -> Iterator[tuple[int, int]]:
    """Yield pairs of regions of one label that share a parent, are one's parent, or related."""
    first: dict[tuple[str, str], int] = {}
    for number, region in enumerate(regions):
        for name in filter(None, (region.id, region.parent)):
            yield first.setdefault((name, region.label), number), number
    numbers = {region.id: number for number, region in enumerate(regions)}
    for one, other in relations:
        if one in numbers and other in numbers:
            pair = numbers[one], numbers[other]
            if regions[pair[0]].label == regions[pair[1]].label:
                yield pair


def _overlapping(regions: list[_Region]) -> Iterator[tuple[int, int]]:
    """Yield pairs of regions of one label of which one largely covers the other.

    Boxes are compared first: the pixels of all pairs of hundreds of regions would take seconds.
    """
    masks = [region.mask for region in regions]
    begin = np.array([(mask.top, mask.left) for mask in masks])
    end = begin + np.array([mask.crop.shape for mask in masks])
    areas = np.array([mask.area for mask in masks])
    for number, region in enumerate(regions):
        shared = np.minimum(end[:number], end[number]) - np.maximum(begin[:number], begin[number])
        wanted = SAME_OBJECT_OVERLAP * np.minimum(areas[:number], areas[number])
        for other in np.flatnonzero(shared.clip(min=0).prod(axis=1) > wanted).tolist():
            is_same = regions[other].label == region.label
            if is_same and region.mask.overlap(masks[other]) > wanted[other]:
                yield other, number


def _joined(group: list[_Region]) -> AcceptedObject:
    mask = union([region.mask for region in group])
    return AcceptedObject("+".join(region.id for region in group), group[0].label, mask)


def _left_out(items: Iterable[Mapping[str, Any]]) -> list[str]:
    """Say which shapes are no masks; choices and texts are none, and nobody took them for one."""
    kinds = sorted({str(item.get("type")) for item in items})
    ignored = listed([kind for kind in kinds if kind.startswith(_SHAPES)])
    # Of a thousand such annotations the same is said, so that it can be said once.
    return [f"{ignored} ignored: only brush masks are learned from"] if ignored else []


def _forgotten(drawn: str, labels: Sequence[str]) -> list[str]:
    """Say which labels were saved with what was drawn, but without the mask that answered it."""
    if not labels:
        return []
    return [
        f"saved with {drawn} but without the mask of {listed(labels)}: accept the suggestion "
        "(✓) before submitting"
    ]


def _clicked_without_mask(
    items: Iterable[Mapping[str, Any]], objects: Sequence[AcceptedObject]
) -> tuple[str, ...]:
    """Return labels that were clicked on where no mask of the label is.

    Submitting while a suggestion is pending saves its clicks and loses its mask. Clicks whose
    mask was accepted may stay as well, so clicks alone mean nothing: a positive one lies in its
    mask, of whichever label that is by now. Clicks of earlier edits have lost their sign; of those
    of a label one must lie in a mask of it.
    """
    signed: dict[str, list[bool]] = {}
    unsigned: dict[str, list[bool]] = {}
    for item in items:
        is_click = item.get("type") == "keypointlabels" and isinstance(item.get("value"), Mapping)
        if is_click and item.get("is_positive") is not False:
            label = _drawn_label(item)
            clicks = signed if item.get("is_positive") else unsigned
            masks = [it for it in objects if clicks is signed or it.label == label]
            clicks.setdefault(label, []).append(any(_holds(it, item["value"]) for it in masks))
    lost = [label for label, held in signed.items() if not all(held)]
    lost += [label for label, held in unsigned.items() if not any(held + signed.get(label, []))]
    return tuple(dict.fromkeys(lost))


def _drawn_label(item: Mapping[str, Any]) -> str:
    value = item.get("value")
    labels = value.get(str(item.get("type"))) if isinstance(value, Mapping) else None
    return str(labels[0]) if isinstance(labels, list) and labels else ""


def _holds(accepted: AcceptedObject, click: Mapping[str, Any]) -> bool:
    height, width = accepted.mask.size_hw
    x: Any = click.get("x")
    y: Any = click.get("y")
    if not (_is_percentage(x) and _is_percentage(y)):
        return False
    row, column = int(y / 100 * height), int(x / 100 * width)
    return accepted.mask.contains(min(row, height - 1), min(column, width - 1))


def _is_percentage(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 100
