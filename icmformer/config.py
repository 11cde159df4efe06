"""The numbers that make a network."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from itertools import chain
from typing import Any, Literal, get_args

from icmformer.errors import ConfigError

Backbone = Literal["vit", "swin"]
CrossDirection = Literal["image_to_clicks", "clicks_to_image", "figure_3b"]
HeadInit = Literal["fan_out", "fan_in"]

# Several times what any network of the kind has, so that a small file cannot ask for more than a
# machine has: every block of a Swin holds an index of `window_size`⁴ numbers, 8 MB at the most.
_MOST_BLOCKS = 100
_LARGEST_WINDOW = 32
_LARGEST_SIDE = 4096  # pixels
_LARGEST_RADIUS = 100


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
            table 5). Two readings of YX: "clicks_to_image" exchanges the roles of the streams;
            "figure_3b" is the paper's text, with the self-attention on the clicks (equation 2).
        share_first_group_with_clicks: ViT only; False passes the embedded clicks on as they are
            (the rows of table 5 without Y).
        drop_path: Swin only; stochastic depth of the last block, rising linearly from 0.
        pyramid_widths: ViT only; channels of the four maps, the finest first.
        head_width: channels of the head.
        head_init: how Kaiming scales the head's ReLU convolutions. "fan_out" as published; "fan_in"
            gives branches of different width the same scale, without which most of the coarsest
            branch of a small model dies early in training from random weights.
        head_dropout: share of the head's channels that are dropped in training.
        click_radius: of the disks that show clicks, in pixels of the crop.
    """

    backbone: Backbone
    input_size: tuple[int, int]
    patch_size: int
    embed_dim: int
    depths: tuple[int, ...]
    num_heads: tuple[int, ...]
    window_size: int
    global_every: int = 0
    num_cross_blocks: int
    cross_heads: int
    cross_direction: CrossDirection = "image_to_clicks"
    share_first_group_with_clicks: bool = True
    drop_path: float = 0.0
    pyramid_widths: tuple[int, ...] = ()
    head_width: int
    head_init: HeadInit = "fan_out"
    head_dropout: float = 0.1
    click_radius: int = 5

    def __post_init__(self) -> None:
        """Refuse what cannot be built.

        Raises:
            ConfigError: naming the first setting that does not fit.
        """
        # One after the other: the later checks rely on what the earlier ones found right.
        checks = (_wrong_types, _wrong_values, _too_large, _wrong_for_backbone)
        for problem in chain.from_iterable(check(self) for check in checks):
            raise ConfigError(f"model configuration: {problem}")

    @property
    def stage_dims(self) -> tuple[int, ...]:
        """Channels in each entry of `depths`; Swin doubles them from stage to stage."""
        growing = self.backbone == "swin"
        return tuple(self.embed_dim << (i if growing else 0) for i in range(len(self.depths)))

    @property
    def cross_dim(self) -> int:
        """Channels where the two streams meet: in Swin, of the third stage."""
        return self.embed_dim << (2 if self.backbone == "swin" else 0)

    def windows_along(self, length: int) -> int:
        """Return how many windows a plain ViT cuts a height or width of that many pixels into.

        As many of the smallest size as fit, which then grow to fill the grid; 0 if none fits or
        they cannot fill it.
        """
        patches, rest = divmod(length, self.patch_size)
        windows = patches // self.window_size
        return windows if windows and not rest and patches % windows == 0 else 0

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


def _wrong_types(config: ModelConfig) -> Iterator[str]:
    for name, choices in _CHOICES.items():
        allowed = get_args(choices)
        if getattr(config, name) not in allowed:
            yield f"{name} is {getattr(config, name)!r}, not one of {allowed}"
    for name, (fits, kind) in _KINDS.items():
        if not fits(getattr(config, name)):
            yield f"{name} is {getattr(config, name)!r}, not {kind}"


def _wrong_values(config: ModelConfig) -> Iterator[str]:
    stages = 2 if config.backbone == "vit" else 4
    if len(config.input_size) != 2:
        yield "input_size is not height and width"
    if len(config.depths) != stages:
        yield f"depths has {len(config.depths)} entries; a {config.backbone} has {stages}"
    if len(config.num_heads) != len(config.depths):
        yield "num_heads does not have one entry for each of depths"
    for dim, heads in zip(config.stage_dims, config.num_heads, strict=False):
        if dim % heads:
            yield f"{dim} channels do not divide into {heads} heads"
    if config.cross_dim % config.cross_heads:
        yield f"{config.cross_dim} channels do not divide into {config.cross_heads} cross_heads"


def _too_large(config: ModelConfig) -> Iterator[str]:
    if max(*config.depths, config.num_cross_blocks) > _MOST_BLOCKS:
        yield f"depths or num_cross_blocks are more than {_MOST_BLOCKS} blocks"
    if config.window_size > _LARGEST_WINDOW:
        yield f"window_size is {config.window_size}, more than {_LARGEST_WINDOW} tokens"
    if max(config.input_size) > _LARGEST_SIDE:
        yield f"input_size {config.input_size} is larger than {_LARGEST_SIDE} pixels"
    if config.click_radius > _LARGEST_RADIUS:
        yield f"click_radius is {config.click_radius}, more than {_LARGEST_RADIUS} pixels"


def _wrong_for_backbone(config: ModelConfig) -> Iterator[str]:
    """Name settings of the other backbone, which would be ignored without a word."""
    if config.backbone == "vit":
        if config.global_every == 0:
            yield "global_every is 0; a vit needs blocks that see the whole image"
        if len(config.pyramid_widths) != 4:
            yield "pyramid_widths does not have four entries"
        if not all(map(config.windows_along, config.input_size)):
            step = config.patch_size * config.window_size
            sides = f"take multiples of {step} pixels"
            yield f"input_size {config.input_size} cannot be cut into windows: {sides}"
        if config.drop_path:
            yield "drop_path is for swin only"
        return
    if config.global_every or config.pyramid_widths:
        yield "global_every and pyramid_widths are for vit only"
    if not config.share_first_group_with_clicks:
        yield (
            "share_first_group_with_clicks=false is for vit only: in a swin the first two stages "
            "bring the clicks to the resolution where they meet the image"
        )


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_positive(value: Any) -> bool:
    return _is_count(value) and value > 0


def _is_tuple(value: Any) -> bool:
    return isinstance(value, tuple) and all(map(_is_positive, value))


def _is_share(value: Any) -> bool:
    return isinstance(value, float | int) and 0 <= value < 1


_CHOICES = {"backbone": Backbone, "cross_direction": CrossDirection, "head_init": HeadInit}

_Kind = tuple[Callable[[Any], bool], str]
_POSITIVE: _Kind = (_is_positive, "a positive whole number")
_COUNT: _Kind = (_is_count, "a whole number")
_TUPLE: _Kind = (_is_tuple, "a list of positive whole numbers")
_SHARE: _Kind = (_is_share, "in [0, 1)")
_KINDS: dict[str, _Kind] = {
    "input_size": _TUPLE,
    "patch_size": _POSITIVE,
    "embed_dim": _POSITIVE,
    "depths": _TUPLE,
    "num_heads": _TUPLE,
    "window_size": _POSITIVE,
    "global_every": _COUNT,
    "num_cross_blocks": _COUNT,
    "cross_heads": _POSITIVE,
    "share_first_group_with_clicks": (_is_flag, "true or false"),
    "drop_path": _SHARE,
    "pyramid_widths": _TUPLE,
    "head_width": _POSITIVE,
    "head_dropout": _SHARE,
    "click_radius": _POSITIVE,
}
