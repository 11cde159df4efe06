"""What the predictor answers, and all it needs to go on from there."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from icmformer.clicks import Click
from icmformer.errors import InputError
from icmformer.region_of_interest import RegionOfInterest, View

# Not 0.5: every published number of clicks since RITM was measured with 0.49.
MASK_THRESHOLD = 0.49


class FeatureTensors(Protocol):
    """What a network's `encode_image` returns; only that network looks inside."""

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors, on whichever device they lie."""


@dataclass(frozen=True, eq=False)
class CropFeatures:
    """The encoded image half of one crop, kept so that the next click costs only the fusion.

    Attributes:
        view: the image's size, the crop, and the size the network saw it at.
        features: what the network's `encode_image` returned.
        image: (h, w, 3) uint8 RGB, the crop as the network saw it, where outlines are to follow it.
    """

    view: View
    features: FeatureTensors
    image: NDArray[np.uint8] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the features and the crop."""
        return self.features.nbytes + (0 if self.image is None else self.image.nbytes)


@dataclass(frozen=True, eq=False)
class AnsweringNetwork:
    """Stands for a network with one predictor's settings: no other equals it, and it is small.

    Attributes:
        is_generalist: it is the one that a specialised network leaves unfamiliar images to.
    """

    is_generalist: bool = False


@dataclass(frozen=True, eq=False)
class Segmentation:
    """An object's mask after some clicks.

    Attributes:
        probability: (H, W) float32 in [0, 1]; H and W of the image. Read-only, unless the
            segmentation is a deep copy or was pickled.
        clicks: all clicks that led to it, in order, with a box first those that it stands for.
        region: what the object was last looked at in, close-ups of corrections aside; None before
            the first pass.
        image_fingerprint: of its image, by which the predictor refuses another one, unless what
            differs there is thin or small; None if it belongs to none, as a mask to start from.
        network: which one answers on the image; None before it was chosen. What another
            predictor left is chosen and computed anew.
        features: of that region, or of the whole image before the first pass. They save time and
            never change a result, so they may be dropped.
        is_given: whether it began with a mask that says which object is meant; then already the
            first click only corrects it.

    Raises:
        InputError: if the probability is no array of float32; its values are not looked at.
    """

    probability: NDArray[np.float32]
    clicks: tuple[Click, ...] = ()
    region: RegionOfInterest | None = None
    image_fingerprint: int | None = None
    network: AnsweringNetwork | None = field(default=None, repr=False)
    features: CropFeatures | None = field(default=None, repr=False)
    is_given: bool = False

    def __post_init__(self) -> None:
        kind = _kind(self.probability)
        if kind != "float32":
            raise InputError(
                f"a probability needs to be a numpy array of float32, this one is {kind}: to start"
                " from a mask, use Segmentation.from_mask(mask)"
            )
        probability = self.probability.view()  # the caller's own array stays as it is
        probability.flags.writeable = False
        object.__setattr__(self, "probability", probability)

    @classmethod
    def from_mask(cls, mask: np.ndarray) -> "Segmentation":
        """Start from an existing mask, which every click corrects around it.

        Args:
            mask: (H, W), bool or numbers that are not zero on the object.

        Raises:
            InputError: if the mask is no array of bool or numbers, does not have two axes, or has
                fractions or other floating-point numbers than 0 and 1: a probability is nowhere
                quite zero.
        """
        if not isinstance(mask, np.ndarray):
            raise InputError(f"a mask needs to be a numpy array, this one is {_kind(mask)}")
        if mask.ndim != 2 or 0 in mask.shape:
            raise InputError(f"a mask needs the shape (height, width), this one has {mask.shape}")
        if mask.dtype.kind not in "biuf":
            raise InputError(f"a mask needs bool or numbers, this one is of {mask.dtype}")
        if mask.dtype.kind == "f" and not ((mask == 0) | (mask == 1)).all():
            raise InputError(
                f"a mask of {mask.dtype} may hold 0 and 1 only, this one has other numbers, as a"
                " probability has: threshold it first, as in mask > 0.5"
            )
        given = mask != 0
        return cls(probability=given.astype(np.float32), is_given=bool(given.any()))

    @classmethod
    def empty(cls, image_hw: tuple[int, int]) -> "Segmentation":
        """Start from nothing, on an image of this height and width."""
        return cls(probability=np.zeros(image_hw, dtype=np.float32))

    def without_features(self) -> "Segmentation":
        """Return the same, to be collected: features take megabytes to save the next click time.

        Left are the probability, clicks and region, from which further clicks give the same mask.
        """
        return replace(self, features=None)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(H, W) bool, True on the object."""
        return self.probability > np.float32(MASK_THRESHOLD)

    @property
    def is_by_generalist(self) -> bool:
        """Whether a specialised network left the image to the one that it came from."""
        return self.network is not None and self.network.is_generalist

    @property
    def nbytes(self) -> int:
        """Bytes of memory this object keeps alive, features on a GPU included."""
        return self.probability.nbytes + (self.features.nbytes if self.features else 0)

    def leads_to(self, clicks: Sequence[Click]) -> bool:
        """Say whether these clicks begin with the ones of this segmentation."""
        return tuple(self.clicks) == tuple(clicks[: len(self.clicks)])


def _kind(value: object) -> str:
    """Return the type of an array's values, and of anything else its own."""
    return str(value.dtype) if isinstance(value, np.ndarray) else type(value).__name__
