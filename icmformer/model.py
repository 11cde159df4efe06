"""iCMFormer: an image, clicks and the previous mask in, logits out (paper figure 2)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from icmformer.clicks import click_slots, disk_maps
from icmformer.config import ModelConfig
from icmformer.errors import InputError
from icmformer.image_features import ImageFeatures
from icmformer.plain_vit import PlainViT
from icmformer.segmentation_head import SegmentationHead
from icmformer.swin import Swin

# ImageNet's, red, green, blue, of values in [0, 1]
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)

_BACKBONES: dict[str, type[PlainViT | Swin]] = {"vit": PlainViT, "swin": Swin}


class ICMFormer(nn.Module):
    """Interactive segmentation network in two halves.

    `encode_image` depends on the image only and can be kept while a person clicks; `fuse` brings
    in the clicks and the previous mask. `forward` is one after the other, bit for bit.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone: PlainViT | Swin = _BACKBONES[config.backbone](config)
        self.head = SegmentationHead(
            self.backbone.out_channels, config.head_width, config.head_init, config.head_dropout
        )
        # from numpy: constants, unlike weights, have their numbers on the meta device, too
        self.register_buffer("mean", _per_channel(IMAGE_MEAN), persistent=False)
        self.register_buffer("std", _per_channel(IMAGE_STD), persistent=False)

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the crop the model was made for, in pixels."""
        return self.config.input_size

    def click_maps(
        self,
        rows_columns: NDArray[np.float64],
        positive: NDArray[np.bool_],
        size_hw: tuple[int, int],
    ) -> torch.Tensor:
        """Draw the clicks of one crop as this model was trained to see them.

        Args:
            rows_columns: (N, 2) pixel indices of the crop: row, column; fractions and places
                outside are allowed.
            positive: (N,) bool.
            size_hw: height and width of the crop.

        Returns:
            (2, H, W) float32 in {0, 1}: positive, then negative.

        Raises:
            InputError: if a place is not a finite number.
        """
        return self.click_maps_of_batch(click_slots(rows_columns, positive), size_hw)[0]

    def click_maps_of_batch(
        self, positions: torch.Tensor, size_hw: tuple[int, int]
    ) -> torch.Tensor:
        """Draw the clicks of many crops at once: the one place that says how a click looks.

        Args:
            positions: see `icmformer.clicks.disk_maps`.
            size_hw: height and width of the crops.

        Returns:
            (B, 2, H, W) float32 on the device of the clicks: for each crop its `click_maps`.
        """
        return disk_maps(positions, size_hw, self.config.click_radius)

    def encode_image(self, image: torch.Tensor) -> ImageFeatures:
        """Compute all that depends on the image alone.

        Args:
            image: (B, 3, H, W) red, green, blue in [0, 1].

        Raises:
            InputError: if the image is no such tensor of floating-point numbers, or the backbone
                cannot work with this height or width.
        """
        _check_image(image)
        return self.backbone.encode_image((image.to(self.mean.dtype) - self.mean) / self.std)

    def fuse(
        self, features: ImageFeatures, click_maps: torch.Tensor, previous_mask: torch.Tensor
    ) -> torch.Tensor:
        """Segment the object that is clicked.

        Args:
            features: what `encode_image` returned for B images, or for one that all clicks are on.
            click_maps: (B, 2, H, W) in {0, 1}: positive, then negative.
            previous_mask: (B, 1, H, W) probability in [0, 1] of the round before; zeros at first.

        Returns:
            (B, 1, H, W) logits, never in half precision.

        Raises:
            InputError: if the maps are no tensors, do not have these shapes or the size of the
                image, or are of another number of images than the features.
        """
        _check_map("click maps", click_maps, 2, features.size_hw)
        _check_map("previous masks", previous_mask, 1, features.size_hw)
        if len(click_maps) != len(previous_mask):
            raise InputError(
                f"{len(click_maps)} images of clicks do not fit {len(previous_mask)} previous masks"
            )
        features = features.for_batch(len(click_maps))
        guidance = torch.cat([previous_mask, click_maps], dim=1).to(self.mean.dtype)
        logits = self.head(self.backbone.fuse(features, guidance))
        if logits.dtype in (torch.bfloat16, torch.float16):
            logits = logits.float()
        return F.interpolate(logits, size=features.size_hw, mode="bilinear", align_corners=True)

    def forward(
        self, image: torch.Tensor, click_maps: torch.Tensor, previous_mask: torch.Tensor
    ) -> torch.Tensor:
        """Return logits (B, 1, H, W); see `encode_image` and `fuse`."""
        return self.fuse(self.encode_image(image), click_maps, previous_mask)


def _check_image(given: torch.Tensor) -> None:
    """Refuse what would run nevertheless, such as bytes; a GPU is not asked for the values."""
    _check_tensor("images", given)
    if given.ndim != 4 or given.shape[1] != 3:
        raise InputError(
            f"images need the shape (batch, 3, height, width), these have {tuple(given.shape)}"
        )
    if not given.is_floating_point():
        raise InputError(
            f"images need to be floating-point numbers in [0, 1], these are {given.dtype}; divide"
            " bytes by 255"
        )


def _check_map(name: str, given: torch.Tensor, channels: int, size_hw: tuple[int, int]) -> None:
    """Refuse what would run nevertheless, such as the two maps in the other order."""
    _check_tensor(name, given)
    if given.ndim != 4 or given.shape[1] != channels or given.shape[2:] != size_hw:
        raise InputError(
            f"{name} of an image of {size_hw} pixels need the shape (batch, {channels},"
            f" {size_hw[0]}, {size_hw[1]}), not {tuple(given.shape)}"
        )


def _check_tensor(name: str, given: object) -> None:
    if not torch.is_tensor(given):
        raise InputError(f"{name} need to be a tensor of torch, not a {type(given).__name__}")


def _per_channel(values: tuple[float, float, float]) -> torch.Tensor:
    return torch.from_numpy(np.array(values, np.float32)).view(1, 3, 1, 1)


def network_without_weights(
    config: ModelConfig, kind: Callable[[ModelConfig], ICMFormer] = ICMFormer
) -> ICMFormer:
    """Build a network whose weights are on the meta device: they have shapes, and no numbers."""
    with torch.device("meta"), _NothingDrawn():
        return kind(config)


class _NothingDrawn(TorchFunctionMode):
    """Leave initial weights alone; on the meta device some would import torch's compiler.

    That takes seconds, in which a server that starts does nothing else. What `nn.init` hands over
    whole has to be left alone as such: the mode is off while its function runs.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is nn.init.normal_:
            return (kwargs or {})["tensor"]
        if func in (torch.Tensor.normal_, torch.Tensor.uniform_):
            return args[0]
        return func(*args, **(kwargs or {}))
