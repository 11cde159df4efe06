"""Random views of an annotated image: geometry and colour.

`ScaleAndCrop` is the authors' recipe, step by step as their albumentations pipelines run it.
`ObjectCrop` cuts a rectangle out, turns it and squashes it to a square in one resampling, which is
what the predictor's zoom-in does to an image before the network sees it.

Images are resampled bilinearly, instance ids by nearest neighbour. What lies outside the image is
black background.
"""

from typing import Annotated, Literal

import cv2
import numpy as np
from pydantic import AfterValidator, BaseModel, Field

from icmformer.region_of_interest import bounding_box
from training.datasets.object_sampling import ObjectIds
from training.errors import DatasetError
from training.recipe_files import STRICT

LONGEST_SIDE = 2**15 - 2  # of what OpenCV turns

Planes = tuple[np.ndarray, np.ndarray]


def _ordered(values: tuple[float, float]) -> tuple[float, float]:
    if values[0] > values[1]:
        raise ValueError("the first of two limits must not exceed the second")
    return values


_Ordered = AfterValidator(_ordered)
_Share = Annotated[float, Field(gt=0, le=1)]
_Factor = Annotated[float, Field(ge=0.1, le=10)]
_OfBox = Annotated[float, Field(ge=1, le=100)]
Range = Annotated[tuple[float, float], _Ordered]


class Colour(BaseModel):
    """Photometric changes; each is drawn uniformly from its range.

    Attributes:
        probability: of each of the two groups below, drawn separately.
        brightness: added, as a share of full scale.
        contrast: relative change of all values.
        channel_shift: added to each channel on its own, in grey levels of 255.
        saturation: relative change of the distance from grey.
        grey: probability of losing all colour.
    """

    model_config = STRICT

    probability: float = Field(default=0.75, ge=0, le=1)
    brightness: Range = (-0.25, 0.25)
    contrast: Range = (-0.15, 0.4)
    channel_shift: float = Field(default=10.0, ge=0)
    saturation: Range = (0.0, 0.0)
    grey: float = Field(default=0.0, ge=0, le=1)

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the image, (H, W, 3) uint8, in other light."""
        if rng.random() < self.probability:
            levels = np.arange(256) * (1 + rng.uniform(*self.contrast))
            image = cv2.LUT(image, _levels(levels + 255 * rng.uniform(*self.brightness)))
        if rng.random() < self.probability:
            shift = rng.uniform(-self.channel_shift, self.channel_shift, 3)
            image = cv2.LUT(image, _levels(np.arange(256)[:, None] + shift)[:, None])
        saturation = 0.0 if rng.random() < self.grey else 1 + rng.uniform(*self.saturation)
        if saturation != 1.0:
            luma = np.array([0.299, 0.587, 0.114])
            image = cv2.transform(image, saturation * np.eye(3) + (1 - saturation) * luma)
        return image


class ScaleAndCrop(BaseModel):
    """The authors' geometry: scale, flip, turn, shift a little, pad, crop (paper section 4.1).

    Attributes:
        scale: factor of the image's size.
        flip: probability; `flip_both` adds vertical and double flips, drawn uniformly.
        quarter_turns: probability of a rotation by a random multiple of 90°.
        jitter: probability of a shift and rotation of the amounts below.
        shift: of the image's size.
        degrees: either way.
    """

    model_config = STRICT

    kind: Literal["scale_and_crop"] = "scale_and_crop"
    scale: Annotated[tuple[_Factor, _Factor], _Ordered] = (0.75, 1.25)
    flip: float = Field(default=0.5, ge=0, le=1)
    flip_both: bool = True
    quarter_turns: float = Field(default=0.5, ge=0, le=1)
    jitter: float = Field(default=0.75, ge=0, le=1)
    shift: float = Field(default=0.03, ge=0)
    degrees: float = Field(default=3.0, ge=0)
    colour: Colour = Colour()

    def __call__(
        self, planes: Planes, focus: ObjectIds, size: int, rng: np.random.Generator
    ) -> Planes:
        """Return an augmented (size, size, 3) image and (size, size, L) instance ids.

        Args:
            planes: (H, W, 3) uint8 image, (H, W, L) instance ids.
            focus: unused; the crop falls anywhere.
            size: of the square crop, in pixels.
            rng: source of randomness.
        """
        image, layers = _resized(planes, rng.uniform(*self.scale))
        if rng.random() < self.flip:
            axes = ((1,), (0,), (0, 1))[rng.integers(3) if self.flip_both else 0]
            image, layers = np.flip(image, axes), np.flip(layers, axes)
        if rng.random() < self.quarter_turns:
            turns = int(rng.integers(4))
            image, layers = np.rot90(image, turns), np.rot90(layers, turns)
        if rng.random() < self.jitter:
            image, layers = self._shifted_and_rotated((image, layers), rng)
        image, layers = _random_crop(_padded((image, layers), size), size, rng)
        return self.colour(np.ascontiguousarray(image), rng), layers

    def _shifted_and_rotated(self, planes: Planes, rng: np.random.Generator) -> Planes:
        height, width = planes[0].shape[:2]
        degrees = rng.uniform(-self.degrees, self.degrees)
        matrix = cv2.getRotationMatrix2D((width / 2 - 0.5, height / 2 - 0.5), degrees, 1.0)
        shift = rng.uniform(-self.shift, self.shift, 2) * (width, height)
        matrix = matrix + np.array([[0, 0, shift[0]], [0, 0, shift[1]]])
        return _warped(planes, matrix, (width, height), cv2.INTER_LINEAR)


class ObjectCrop(BaseModel):
    """A rectangle around the object, or nearly the whole image, squashed to a square.

    Attributes:
        whole: share of views that show nearly the whole image.
        whole_extent: of those, the share of each side that is kept.
        box_scale: of the others, the sides of the view over those of the object's box.
        box_least: shortest side of a view, in pixels of the image.
        flip: probability of a horizontal flip.
        degrees: of rotation, either way.
    """

    model_config = STRICT

    kind: Literal["object_crop"] = "object_crop"
    whole: float = Field(default=0.4, ge=0, le=1)
    whole_extent: Annotated[tuple[_Share, _Share], _Ordered] = (0.85, 1.0)
    box_scale: Annotated[tuple[_OfBox, _OfBox], _Ordered] = (1.1, 2.2)
    box_least: float = Field(default=48.0, gt=0)
    flip: float = Field(default=0.5, ge=0, le=1)
    degrees: float = Field(default=15.0, ge=0)
    colour: Colour = Colour()

    def __call__(
        self, planes: Planes, focus: ObjectIds, size: int, rng: np.random.Generator
    ) -> Planes:
        """Return an augmented (size, size, 3) image and (size, size, L) instance ids.

        Args:
            planes: (H, W, 3) uint8 image, (H, W, L) instance ids.
            focus: the objects to crop around; without any, nearly the whole image is shown.
            size: of the square view, in pixels.
            rng: source of randomness.
        """
        image, layers = planes
        hw = image.shape[:2]
        if not focus or rng.random() < self.whole:
            view = [_part_of(length, self.whole_extent, rng) for length in hw]
        else:
            view = [
                self._around(span, length, rng)
                for span, length in zip(_spans(layers, focus), hw, strict=True)
            ]
        angle = np.deg2rad(rng.uniform(-self.degrees, self.degrees))
        mirrored = rng.random() < self.flip
        matrix = _view_to_image(view, float(angle), size, mirrored)
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        image, layers = _warped((image, layers), matrix, (size, size), how)
        return self.colour(image, rng), layers

    def _around(
        self, span: tuple[int, int], length: int, rng: np.random.Generator
    ) -> tuple[float, float]:
        """Return start and end of a view along one axis, clipped to the image as zoom-in does."""
        extent = span[1] - span[0]
        side = max(extent * rng.uniform(*self.box_scale), self.box_least)
        start = rng.uniform(span[1] - side, span[0])
        return max(start, 0.0), min(start + side, float(length))


Augmentation = Annotated[ScaleAndCrop | ObjectCrop, Field(discriminator="kind")]


def _levels(values: np.ndarray) -> np.ndarray:
    return np.clip(values, 0, 255).astype(np.uint8)


def _resized(planes: Planes, factor: float) -> Planes:
    """Return both at another size, as the authors' augmentation makes it.

    So masks lie up to half a pixel lower and further right than what they outline.
    """
    height, width = planes[0].shape[:2]
    size = (max(round(width * factor), 1), max(round(height * factor), 1))
    image = cv2.resize(planes[0], size, interpolation=cv2.INTER_LINEAR)
    layers = [cv2.resize(p, size, interpolation=cv2.INTER_NEAREST) for p in _each(planes[1])]
    return image, np.stack(layers, axis=2).astype(planes[1].dtype, copy=False)


def _padded(planes: Planes, size: int) -> Planes:
    """Return both with black added around them until each side has at least `size` pixels."""
    missing = [max(size - length, 0) for length in planes[0].shape[:2]]
    around = [(m // 2, m - m // 2) for m in missing] + [(0, 0)]
    return np.pad(planes[0], around), np.pad(planes[1], around)


def _random_crop(planes: Planes, size: int, rng: np.random.Generator) -> Planes:
    top, left = (int(rng.integers(length - size + 1)) for length in planes[0].shape[:2])
    window = np.s_[top : top + size, left : left + size]
    return planes[0][window], planes[1][window]


def _warped(planes: Planes, matrix: np.ndarray, size: tuple[int, int], how: int) -> Planes:
    """Apply one affine map (OpenCV's x, y convention) to image and ids."""
    longest = max(planes[0].shape[:2])
    if longest > LONGEST_SIDE:
        raise DatasetError(
            f"has a side of {longest} pixels where it is augmented, and {LONGEST_SIDE} are the "
            "most: set data.max_side, or cut it into pieces"
        )
    image = cv2.warpAffine(planes[0], matrix, size, flags=how)
    nearest = (how & ~cv2.INTER_LINEAR) | cv2.INTER_NEAREST
    layers = [cv2.warpAffine(p, matrix, size, flags=nearest) for p in _each(planes[1])]
    return image, np.stack(layers, axis=2).astype(planes[1].dtype, copy=False)


def _each(layers: np.ndarray) -> list[np.ndarray]:
    """Return the layers as contiguous int16 or float32 planes, which OpenCV can resample."""
    kind = np.int16 if layers.dtype == np.int16 or layers.max() < 2**15 else np.float32
    return [np.ascontiguousarray(layers[:, :, i], kind) for i in range(layers.shape[2])]


def _part_of(length: int, extent: Range, rng: np.random.Generator) -> tuple[float, float]:
    side = length * rng.uniform(*extent)
    start = rng.uniform(0, length - side)
    return start, start + side


def _spans(layers: np.ndarray, focus: ObjectIds) -> list[tuple[int, int]]:
    """Return first and last-plus-one row, then column, of the objects' common box."""
    box = bounding_box(np.logical_or.reduce([layers[:, :, layer] == i for layer, i in focus]))
    assert box is not None, "objects to crop around are in the image"
    return [(span.start, span.stop) for span in box.slices]


def _view_to_image(
    view: list[tuple[float, float]], angle: float, size: int, mirrored: bool
) -> np.ndarray:
    """Return the 2×3 map from pixels of the view to pixels of the image, in x, y order."""
    (top, bottom), (left, right) = view
    stretch = np.diag([(right - left) / size * (-1 if mirrored else 1), (bottom - top) / size])
    cosine, sine = np.cos(angle), np.sin(angle)
    linear = np.array([[cosine, -sine], [sine, cosine]]) @ stretch
    # Centres map onto centres; pixel indices are half a pixel off the continuous plane.
    middle = np.array([(left + right) / 2, (top + bottom) / 2]) - 0.5
    return np.column_stack([linear, middle - linear @ np.full(2, (size - 1) / 2)])
