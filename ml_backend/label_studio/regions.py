"""Masks ⇄ the brush regions of Label Studio's JSON.

A mask has exactly the natural size of the upright image: Label Studio never rescales, a mask of
another size is drawn as garbage.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_backend.errors import BrushRLEError
from ml_backend.label_studio import brush_rle
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.short_text import shortened


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


def painted_size(item: Mapping[str, Any], region_id: str) -> tuple[int, int]:
    """Return height and width of the upright image that a brush region says it was painted on.

    Args:
        item: one of `annotation.result` for which `is_brush` holds.
        region_id: how errors call it.

    Raises:
        BrushRLEError: if it does not say; the text names the region.
    """
    height, width = (_whole(item.get(f"original_{side}")) for side in ("height", "width"))
    if height is None or width is None:
        raise BrushRLEError(f"region {shortened(region_id)!r} does not say how large its image is")
    return height, width


def decode_region(item: Mapping[str, Any], region_id: str) -> NDArray[np.bool_]:
    """Read the mask of a brush region, in the size that it says; that may be gigabytes.

    Args:
        item: one of `annotation.result` for which `is_brush` holds.
        region_id: how errors call it.

    Returns:
        (H, W) bool, in the size of the upright image that it was painted on.

    Raises:
        BrushRLEError: if the mask is damaged or of another size; the text names the region.
    """
    size_hw = painted_size(item, region_id)
    try:
        return brush_rle.decode(item["value"]["rle"], size_hw)
    except BrushRLEError as error:
        raise BrushRLEError(f"region {shortened(region_id)!r}: {error}") from error


def _whole(number: Any) -> int | None:
    """Return a positive whole number, also where a program wrote it as 451.0."""
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    return int(number) if is_number and 0 < number < 2**31 and number == int(number) else None


def is_brush(item: Mapping[str, Any]) -> bool:
    """Return whether an item of a result is a mask."""
    value = item.get("value")
    return isinstance(value, Mapping) and "rle" in value


def label_of(item: Mapping[str, Any]) -> str:
    """Return the first label of a mask, of whichever kind of control; "" if it has none."""
    labels = item["value"].get("brushlabels") or item["value"].get("labels") or ()
    return next((label for label in labels if isinstance(label, str)), "")
