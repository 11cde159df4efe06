"""Masks as this test computes them, and as Label Studio has them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from label_studio_sdk.converter.brush import decode_rle

from icmformer import Click
from ml_backend.demo.rest_api import RestApi


def clicks_of(asked: Sequence[dict[str, Any]]) -> list[Click]:
    """The keypoints of an interactive request, in pixels."""
    return [
        Click(
            item["value"]["x"] * item["original_width"] / 100,
            item["value"]["y"] * item["original_height"] / 100,
            item["is_positive"],
        )
        for item in asked
    ]


def mask_of(region: dict[str, Any]) -> np.ndarray:
    """The pixels of a brush region, (H, W) bool, read with Label Studio's own decoder."""
    size = region["original_height"], region["original_width"], 4
    return decode_rle(region["value"]["rle"]).reshape(size)[..., 3] > 127


def saved_masks(api: RestApi, task: int) -> dict[str, np.ndarray]:
    """The masks of the only annotation of a task, by label; it must hold nothing else."""
    (annotation,) = api.get(f"/api/tasks/{task}/annotations/")
    regions = annotation["result"]
    assert {region["type"] for region in regions} == {"brushlabels"}
    masks = {region["value"]["brushlabels"][0]: mask_of(region) for region in regions}
    assert len(masks) == len(regions)
    return masks
