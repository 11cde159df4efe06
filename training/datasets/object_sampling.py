"""Which object of an annotated image the simulated annotator is after.

RITM's object sampler: one root object, sometimes the union of two.
Region maps without objects, such as BSDS, may instead merge neighbouring regions.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from pydantic import BaseModel, Field

from training.datasets.sample import IGNORE, AnnotatedImage
from training.recipe_files import STRICT

ObjectIds = tuple[tuple[int, int], ...]
_SQUARE = np.ones((3, 3), np.uint8)
_MOST = 10_000  # objects in one target: hardly an image has more


class ObjectSampling(BaseModel):
    """How a target is put together; the defaults are the paper's.

    Attributes:
        merge_probability: of taking several objects of the image as one target.
        merge_max: largest number of objects in such a target.
        neighbours_max: a target is grown by up to this many adjacent regions, drawn uniformly
            from 0; 0 leaves objects alone.
        stuff_probability: of treating an image's stuff as objects, instead of as background.
    """

    model_config = STRICT

    merge_probability: float = Field(default=0.15, ge=0, le=1)
    merge_max: int = Field(default=2, ge=2, le=_MOST)
    neighbours_max: int = Field(default=0, ge=0, le=_MOST)
    stuff_probability: float = Field(default=0.0, ge=0, le=1)


@dataclass(frozen=True)
class Target:
    """What is to be segmented.

    Attributes:
        parts: (H, W) bool masks of the objects that were merged; empty when nothing is asked for.
        mask: (H, W) bool, their union.
        others: (H, W) bool, what belongs to other objects; everything outside if there are none.
        ignored: (H, W) bool, pixels that count for nothing.
    """

    parts: tuple[np.ndarray, ...]
    mask: np.ndarray
    others: np.ndarray
    ignored: np.ndarray

    def labels(self) -> np.ndarray:
        """Return (H, W) int8: 1 object, 0 not, -1 ignored."""
        labels = self.mask.astype(np.int8)
        labels[self.ignored] = IGNORE
        return labels


def settle_stuff(
    annotated: AnnotatedImage, options: ObjectSampling, rng: np.random.Generator
) -> AnnotatedImage:
    """Return the image with its stuff either among the objects or erased."""
    if not annotated.stuff:
        return annotated
    if rng.random() < options.stuff_probability:
        return replace(annotated, objects=annotated.objects + annotated.stuff, stuff=())
    layers = annotated.layers.copy()
    for layer, i in annotated.stuff:
        plane = layers[:, :, layer]
        plane[plane == i] = 0
    return replace(annotated, layers=layers, stuff=())


def choose_objects(
    layers: np.ndarray, objects: ObjectIds, options: ObjectSampling, rng: np.random.Generator
) -> ObjectIds:
    """Draw the objects of one target.

    Args:
        layers: (H, W, L) instance ids.
        objects: the pairs (layer, id) to draw from; none gives none.
        options: see `ObjectSampling`.
        rng: source of randomness.
    """
    if not objects:
        return ()
    if len(objects) > 1 and rng.random() < options.merge_probability:
        count = min(int(rng.integers(2, options.merge_max + 1)), len(objects))
        return tuple(objects[i] for i in rng.choice(len(objects), count, replace=False))
    chosen = [objects[rng.integers(len(objects))]]
    if options.neighbours_max:
        for _ in range(rng.integers(options.neighbours_max + 1)):
            chosen += _neighbour(layers, chosen, objects, rng)
    return tuple(chosen)


def make_target(layers: np.ndarray, chosen: ObjectIds, objects: ObjectIds) -> Target:
    """Cut the masks of a target out of the instance ids.

    Args:
        layers: (H, W, L) instance ids.
        chosen: the objects of the target; empty for a sample that asks for nothing.
        objects: everything that could have been asked for.
    """
    parts = tuple(layers[:, :, layer] == i for layer, i in chosen)
    mask = np.logical_or.reduce(parts) if parts else np.zeros(layers.shape[:2], bool)
    # A pixel is ignored only where no layer knows better.
    ignored = layers.max(axis=2) == IGNORE
    alone = bool(chosen) and len(objects) <= len(chosen)
    others = ~mask if alone else (layers > 0).any(axis=2) & ~mask
    return Target(parts, mask, others, ignored)


def with_area(layers: np.ndarray, objects: ObjectIds, least: int) -> ObjectIds:
    """Return the objects that cover at least `least` pixels."""
    kept = []
    for layer in range(layers.shape[2]):
        candidates = [i for at, i in objects if at == layer]
        if candidates:
            plane = layers[:, :, layer]
            areas = np.bincount(plane[plane > 0], minlength=max(candidates) + 1)
            kept += [(layer, i) for i in candidates if areas[i] >= least]
    return tuple(kept)


def _neighbour(
    layers: np.ndarray,
    chosen: list[tuple[int, int]],
    objects: ObjectIds,
    rng: np.random.Generator,
) -> list[tuple[int, int]]:
    """Return one object that touches the chosen ones in their layer, or nothing."""
    layer = chosen[0][0]
    plane = layers[:, :, layer]
    mask = np.isin(plane, [i for _, i in chosen]).astype(np.uint8)
    rim = (cv2.dilate(mask, _SQUARE) > 0) & (mask == 0)
    touching = {(layer, int(i)) for i in np.unique(plane[rim])}
    candidates = sorted(touching & set(objects) - set(chosen))
    return [candidates[rng.integers(len(candidates))]] if candidates else []
