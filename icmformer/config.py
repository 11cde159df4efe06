"""The numbers that make a network."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from icmformer.errors import ConfigError

_CHOICES = {
    "backbone": ("vit", "swin"),
    "cross_direction": ("image_to_clicks", "clicks_to_image"),
    "head_init": ("fan_out", "fan_in"),
}


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """All that is needed to build an iCMFormer; plain data, stored beside the weights.

    Attributes:
        backbone: plain ViT or Swin ("hierarchy" in table 4).
        input_size: height and width of the crop it is trained on, in pixels.
        patch_size: pixels a side.
        embed_dim: channels of a token; in Swin, of the first stage.
        depths: ViT: blocks of the first and of the second group. Swin: blocks of the four stages.
        num_heads: one for each entry of `depths`.
        window_size: tokens a side; in a ViT the smallest window, which grows to divide the grid.
        global_every: in a ViT, every so many blocks one attends to the whole image; else 0.
        num_cross_blocks: cross-modality blocks; 0 adds the streams directly (table 4, "w/o").
        cross_heads: their heads.
        cross_direction: who guides whom. "image_to_clicks" gave the published numbers (XY in
            table 5), "clicks_to_image" is equation 2 (YX).
        share_first_group_with_clicks: ViT only; False passes the embedded clicks on as they are
            (the rows of table 5 without Y).
        drop_path: Swin only; stochastic depth of the last block, rising linearly from 0.
        pyramid_widths: ViT only; channels of the four maps, the finest first.
        head_width: channels of the head.
        head_init: how Kaiming scales the head's ReLU convolutions. "fan_out" as published; "fan_in"
            gives branches of different width the same scale, without which most of the coarsest
            branch of a small model dies early in training from random weights.
        click_radius: of the disks that show clicks, in pixels of the crop.
    """

    backbone: Literal["vit", "swin"]
    input_size: tuple[int, int]
    patch_size: int
    embed_dim: int
    depths: tuple[int, ...]
    num_heads: tuple[int, ...]
    window_size: int
    global_every: int = 0
    num_cross_blocks: int
    cross_heads: int
    cross_direction: Literal["image_to_clicks", "clicks_to_image"] = "image_to_clicks"
    share_first_group_with_clicks: bool = True
    drop_path: float = 0.0
    pyramid_widths: tuple[int, ...] = ()
    head_width: int
    head_init: Literal["fan_out", "fan_in"] = "fan_out"
    click_radius: int = 5

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that `from_dict` takes back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ModelConfig":
        """Build from plain data, such as parsed JSON.

        Raises:
            ConfigError: if a key is unknown or missing, or a value does not fit.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ConfigError(f"unknown model setting {unknown[0]!r}; known are {sorted(known)}")
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        try:
            return cls(**values)
        except TypeError as error:
            raise ConfigError(f"the model configuration is incomplete: {error}") from error
