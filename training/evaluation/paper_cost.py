"""Parameters and FLOPs as the paper counts them (tables 3 and 8).

The paper's numbers are what the profiler `thop` says of the released code at batch 1. Its rules:

* A linear layer or convolution costs one multiply-accumulate (MAC) for every weight an output value
  reads. A transposed convolution is counted like a plain one by its outputs: four times too much
  at stride 2.
* A LayerNorm costs 4 a value; a softmax costs 3n - 1 a row, where it is a module, as in Swin's
  windows, and nothing where it is a function, as in the ViT and in the cross-modality blocks.
* GroupNorm, activations, interpolation, sums and the matrix products of attention cost nothing.
* Only parameters of counted modules are parameters: no position embedding, relative position bias
  or GroupNorm.

What the released code computes and throws away counts too. A cross-modality block projects its
input twice for self-attention and both inputs to queries, keys and values for cross-attention:
22 C² MACs a token where 16 C² do. Swin's skip stream is merged once too often. This package
computes none of that, so the counts come from the configuration and not from the running network.

The "FLOPs" of the paper are twice these MACs, the MACs rounded to two decimals of a billion first.
"""

from collections import Counter
from collections.abc import Iterator

from torch import nn

from icmformer import ModelConfig

_NORM = 4
_COUNTED_MODULES = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.LayerNorm)

# height, width and channels of a feature map
Shape = tuple[int, int, int]
Part = tuple[str, int]


def paper_parameters(model: nn.Module) -> int:
    """Return the number of parameters the paper would report."""
    return sum(
        parameter.numel()
        for module in model.modules()
        if isinstance(module, _COUNTED_MODULES)
        for parameter in module.parameters(recurse=False)
    )


def paper_macs(config: ModelConfig, size_hw: tuple[int, int]) -> Counter[str]:
    """Return the MACs of one pass, by part of the network; half the paper's FLOPs.

    Args:
        config: of the network.
        size_hw: height and width of the image, in pixels.
    """
    parts = _vit(config, size_hw) if config.backbone == "vit" else _swin(config, size_hw)
    total: Counter[str] = Counter()
    for name, macs in parts:
        total[name] += macs
    return total


def _vit(config: ModelConfig, size_hw: tuple[int, int]) -> Iterator[Part]:
    height, width = (length // config.patch_size for length in size_hw)
    dim, tokens = config.embed_dim, height * width
    first, second = config.depths
    block = 12 * dim * dim * tokens + 2 * _NORM * dim * tokens
    yield "patch embeddings", 2 * 3 * config.patch_size**2 * dim * tokens
    yield "first group, image", first * block
    yield "first group, clicks", first * block if config.share_first_group_with_clicks else 0
    yield "cross-modality", _cross_modality(config, dim, tokens)
    yield "second group", second * block
    yield "neck", _pyramid(dim, config.pyramid_widths, tokens)
    shapes = [
        (4 * height, 4 * width, config.pyramid_widths[0]),
        (2 * height, 2 * width, config.pyramid_widths[1]),
        (height, width, config.pyramid_widths[2]),
        (height // 2, width // 2, config.pyramid_widths[3]),
    ]
    yield "head", _head(shapes, config.head_width)


def _cross_modality(config: ModelConfig, dim: int, tokens: int) -> int:
    self_attention = cross_attention = (3 + 3 + 1) * dim * dim
    feed_forward = 8 * dim * dim
    norms = 5 * _NORM * dim
    block = (self_attention + cross_attention + feed_forward + norms) * tokens
    return config.num_cross_blocks * block


def _pyramid(dim: int, widths: tuple[int, ...], tokens: int) -> int:
    """Count the neck's convolutions: outputs × kernel area × input channels."""
    quarter, eighth, sixteenth, thirtysecond = widths
    hidden = max(2 * quarter, dim // 2)
    finest = 4 * tokens * hidden * 4 * dim + 16 * tokens * (hidden // 2) * 4 * hidden
    finest += 16 * tokens * quarter * (hidden // 2)
    hidden = max(eighth, dim // 2)
    fine = 4 * tokens * hidden * 4 * dim + 4 * tokens * eighth * hidden
    same = tokens * sixteenth * dim
    hidden = max(thirtysecond, 2 * dim)
    coarse = tokens // 4 * hidden * 4 * dim + tokens // 4 * thirtysecond * hidden
    return finest + fine + same + coarse


def _swin(config: ModelConfig, size_hw: tuple[int, int]) -> Iterator[Part]:
    shapes = list(_stage_shapes(config, size_hw))
    for height, width, dim in shapes[:1]:
        values = height * width * dim
        yield "patch embeddings", 2 * (3 * config.patch_size**2 * values + _NORM * values)
    for stage, shape in enumerate(shapes):
        macs = _swin_stage(config, stage, shape)
        if stage < len(shapes) - 1:
            macs += _merging(shapes[stage + 1])
        # Image, clicks, and their sum, which makes the fine maps for the head.
        yield ("stages 1 and 2, three streams", 3 * macs) if stage < 2 else ("stages 3, 4", macs)
    height, width, dim = shapes[2]
    yield "cross-modality", _cross_modality(config, dim, height * width)
    norms = sum(_NORM * height * width * dim for height, width, dim in shapes)
    yield "head", norms + _head(shapes, config.head_width)


def _stage_shapes(config: ModelConfig, size_hw: tuple[int, int]) -> Iterator[Shape]:
    """Yield each stage's map; odd maps are padded, so every halving rounds up."""
    height, width = (-(-length // config.patch_size) for length in size_hw)
    for stage in range(len(config.depths)):
        yield height, width, config.embed_dim << stage
        height, width = -(-height // 2), -(-width // 2)


def _swin_stage(config: ModelConfig, stage: int, shape: Shape) -> int:
    height, width, dim = shape
    window = config.window_size
    tokens = height * width
    padded = (-(-height // window) * window) * (-(-width // window) * window)
    softmax = config.num_heads[stage] * padded * (3 * window**2 - 1)
    block = 4 * dim * dim * padded + softmax + 8 * dim * dim * tokens + 2 * _NORM * dim * tokens
    return config.depths[stage] * block


def _merging(merged: Shape) -> int:
    """Count a patch merging by its output: a norm and a linear layer on four patches' channels."""
    height, width, dim = merged
    return height * width * (2 * dim * dim + _NORM * 2 * dim)


def _head(shapes: list[Shape], head_width: int) -> int:
    branches = sum(height * width * dim * head_width for height, width, dim in shapes)
    height, width, _ = shapes[0]
    return branches + height * width * (len(shapes) * head_width**2 + head_width)
