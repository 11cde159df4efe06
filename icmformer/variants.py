"""The named sizes, and the one place that knows their numbers."""

from dataclasses import replace
from typing import Any

from icmformer.config import ModelConfig
from icmformer.errors import ConfigError
from icmformer.model import ICMFormer

# Tables 3, 6 and 8 of the paper; where it is silent or its numbers are those of the released code,
# that: a ViT-B has 12 heads there, as MAE's has, and 8 in table 6.
_VIT_BASE = ModelConfig(
    backbone="vit",
    input_size=(448, 448),
    patch_size=16,
    embed_dim=768,
    depths=(6, 6),
    num_heads=(12, 12),
    window_size=14,
    global_every=6,
    num_cross_blocks=3,
    cross_heads=12,
    pyramid_widths=(128, 256, 512, 1024),
    head_width=256,
)
_SWIN_BASE = ModelConfig(
    backbone="swin",
    input_size=(384, 384),
    patch_size=4,
    embed_dim=128,
    depths=(2, 2, 18, 2),
    num_heads=(4, 8, 16, 32),
    window_size=12,
    num_cross_blocks=4,
    cross_heads=8,
    drop_path=0.2,
    head_width=256,
)

VARIANTS: dict[str, ModelConfig] = {
    "vit_base": _VIT_BASE,
    "vit_large": replace(
        _VIT_BASE,
        embed_dim=1024,
        depths=(12, 12),
        num_heads=(16, 16),
        num_cross_blocks=5,
        cross_heads=16,
        pyramid_widths=(192, 384, 768, 1536),
    ),
    "vit_huge": replace(
        _VIT_BASE,
        patch_size=14,
        embed_dim=1280,
        depths=(16, 16),
        num_heads=(16, 16),
        window_size=16,
        global_every=8,
        num_cross_blocks=6,
        cross_heads=16,
        pyramid_widths=(240, 480, 960, 1920),
    ),
    "swin_base": _SWIN_BASE,
    "swin_small": replace(
        _SWIN_BASE,
        input_size=(224, 224),
        embed_dim=96,
        num_heads=(3, 6, 12, 24),
        window_size=7,
        num_cross_blocks=8,
        head_width=192,
    ),
    # ships with the project, trained
    "starter": replace(
        _SWIN_BASE,
        input_size=(336, 336),
        embed_dim=48,
        depths=(1, 1, 6, 2),
        num_heads=(2, 4, 8, 16),
        window_size=7,
        num_cross_blocks=2,
        drop_path=0.0,
        head_width=128,
        head_init="fan_in",
    ),
    # for tests: every mechanism, no knowledge
    "tiny": replace(
        _VIT_BASE,
        input_size=(64, 64),
        patch_size=8,
        embed_dim=32,
        depths=(2, 2),
        num_heads=(2, 2),
        window_size=4,
        global_every=2,
        num_cross_blocks=1,
        cross_heads=2,
        pyramid_widths=(8, 16, 32, 64),
        head_width=16,
    ),
    "tiny_swin": replace(
        _SWIN_BASE,
        input_size=(64, 64),
        embed_dim=16,
        depths=(2, 1, 2, 1),
        num_heads=(1, 2, 4, 8),
        window_size=4,
        num_cross_blocks=1,
        drop_path=0.0,
        head_width=16,
    ),
}

MODEL_NAMES = tuple(VARIANTS)


def variant_config(name: str, **overrides: Any) -> ModelConfig:
    """Return the numbers of a network.

    Args:
        name: one of `MODEL_NAMES`.
        **overrides: settings of `ModelConfig` that differ from the named size.

    Raises:
        ConfigError: if the name or a setting is unknown, or the settings do not fit together.
    """
    if name not in MODEL_NAMES:
        raise ConfigError(f"unknown model {name!r}; known are {', '.join(MODEL_NAMES)}")
    return ModelConfig.from_dict({**VARIANTS[name].to_dict(), **overrides})


def build_model(name: str, **overrides: Any) -> ICMFormer:
    """Build a network with random weights; arguments and errors are those of `variant_config`."""
    return ICMFormer(variant_config(name, **overrides))
