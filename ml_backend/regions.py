"""Masks ⇄ the brush regions of Label Studio's JSON.

A mask has exactly the natural size of the upright image: Label Studio never rescales, a mask of
another size is drawn as garbage.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_backend import brush_rle
from ml_backend.errors import BrushRLEError
from ml_backend.labeling_config import LabelingConfig

# A few hundred bytes can announce gigabytes of mask; no decoder here accepts larger images either.
MAX_PIXELS = 400_000_000


@dataclass(frozen=True)
class BrushRegion:
    """One painted or accepted mask of an annotation.

    Attributes:
        region_id: Label Studio's id, unique within the annotation.
        labels: names of its brush labels; empty for a brush without labels.
        mask: (H, W) bool, in the size of the upright image.
    """

    region_id: str
    labels: tuple[str, ...]
    mask: NDArray[np.bool_]


def brush_region(
    mask: NDArray[np.bool_], label: str, config: LabelingConfig, region_id: str, score: float
) -> dict[str, Any]:
    """Write a mask as a region that Label Studio shows as a suggestion.

    Args:
        mask: (H, W) bool, in the size of the upright image.
        label: a label of the configuration's brushes.
        config: says which brush has the label.
        region_id: unique to the object, see `drawn_objects`.
        score: 0–1, shown next to the region.
    """
    height, width = mask.shape
    return {
        "id": region_id,
        "from_name": config.brush_for(label),
        "to_name": config.image.name,
        "type": "brushlabels",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "score": float(score),
        "readonly": False,
        "value": {"format": "rle", "rle": brush_rle.encode(mask), "brushlabels": [label]},
    }


def decode_regions(
    result: Sequence[Any], size_hw: tuple[int, int] | None = None
) -> list[BrushRegion]:
    """Read all brush regions of an annotation, in order.

    `<Brush>` with separate `<Labels>` saves an object as two items of one id; these are joined.

    Args:
        result: `annotation.result`; items of other types are skipped.
        size_hw: height and width of the upright image; None takes each region's own word for it.

    Raises:
        BrushRLEError: if a mask is damaged or of another size; the text names the region.
    """
    regions: dict[str, BrushRegion] = {}
    for index, item in enumerate(result):
        if isinstance(item, Mapping) and is_brush(item):
            region_id = str(item.get("id") or f"#{index}")
            before = regions.get(region_id)
            mask = before.mask if before else _decode(item, region_id, size_hw)
            labels = dict.fromkeys((*(before.labels if before else ()), *labels_of(item)))
            regions[region_id] = BrushRegion(region_id, tuple(labels), mask)
    return list(regions.values())


def is_brush(item: Mapping[str, Any]) -> bool:
    """Return whether an item of a result is a mask."""
    value = item.get("value")
    return isinstance(value, Mapping) and "rle" in value


def labels_of(item: Mapping[str, Any]) -> list[str]:
    """Return the names of the labels of a mask, of whichever kind of control."""
    labels = item["value"].get("brushlabels") or item["value"].get("labels")
    return [label for label in labels if isinstance(label, str)] if labels else []


def _decode(
    item: Mapping[str, Any], region_id: str, size_hw: tuple[int, int] | None
) -> NDArray[np.bool_]:
    own_hw = item.get("original_height"), item.get("original_width")
    if size_hw is not None and None not in own_hw and own_hw != size_hw:
        raise BrushRLEError(
            f"region {region_id!r} was painted on an image of {own_hw[1]}x{own_hw[0]} pixels, but "
            f"the task's image has {size_hw[1]}x{size_hw[0]}"
        )
    height, width = size_hw or own_hw
    if not (isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0):
        raise BrushRLEError(f"region {region_id!r} does not say how large its image is")
    if height * width > MAX_PIXELS:
        raise BrushRLEError(f"region {region_id!r} claims {width}x{height} pixels, too many")
    try:
        return brush_rle.decode(item["value"]["rle"], (height, width))
    except BrushRLEError as error:
        raise BrushRLEError(f"region {region_id!r}: {error}") from error
