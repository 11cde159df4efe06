"""Swin transformer with two streams and a skip stream (paper section 3.1, figure 2b).

Image X and clicks Y share the patch embedding and the first two stages, meet in the
cross-modality blocks at 1/16 resolution, and their sum passes the last two stages. A third stream,
the sum of both patch embeddings, passes the first two stages only to make the fine maps for the
head; the paper does not mention it, the published numbers were obtained with it.
"""

from collections.abc import Iterator
from itertools import count
from typing import cast

import torch
from timm.layers import PatchEmbed
from timm.models.swin_transformer import (
    PatchMerging,
    SwinTransformerBlock,
    WindowAttention,
    window_partition,
    window_reverse,
)
from torch import nn
from torch.nn import functional as F

from icmformer.config import ModelConfig
from icmformer.cross_modality import CrossModality
from icmformer.errors import InputError
from icmformer.image_features import ImageFeatures

NORM_EPS = 1e-5
SHARED_STAGES = 2


class Swin(nn.Module):
    """A hierarchical transformer of four stages; its maps are (B, H, W, C) inside."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.out_channels = config.stage_dims
        self.patch_embed = PatchEmbed(
            None,
            config.patch_size,
            3,
            config.embed_dim,
            norm_layer=nn.LayerNorm,
            output_fmt="NHWC",
            dynamic_img_pad=True,
        )
        last_block = max(sum(config.depths) - 1, 1)
        drop_paths = (config.drop_path * block / last_block for block in count())
        self.stages = nn.ModuleList(
            _Stage(config, stage, drop_paths) for stage in range(len(config.depths))
        )
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for channels in self.out_channels)
        self.cross_modality = CrossModality(
            config.cross_dim,
            config.cross_heads,
            config.num_cross_blocks,
            config.cross_direction,
            NORM_EPS,
        )
        self._initialise()

    def encode_image(self, image: torch.Tensor) -> ImageFeatures:
        """Pass the normalised image (B, 3, H, W), of any size, through the shared stages."""
        embedding = self.patch_embed(image)
        tokens = embedding
        for index in range(SHARED_STAGES):
            stage = self._stage(index)
            tokens = stage.downsample(stage(tokens))
        tokens = tokens.flatten(1, 2)
        keys_values = self.cross_modality.image_keys_values(tokens, _everything)
        return ImageFeatures((image.shape[-2], image.shape[-1]), tokens, embedding, keys_values)

    def fuse(self, features: ImageFeatures, guidance: torch.Tensor) -> list[torch.Tensor]:
        """Bring in the clicks.

        Args:
            features: what `encode_image` returned.
            guidance: (B, 3, H, W): previous mask, positive and negative click maps.

        Returns:
            Four maps (B, C_i, H_i, W_i) at 1/4, 1/8, 1/16 and 1/32 of the image, rounded up.

        Raises:
            InputError: if the features are those of another kind of backbone.
        """
        if features.embedding is None:
            raise InputError("these image features were computed by a model without stages")
        clicks, maps = self._shared_stages(features.embedding, guidance)
        tokens = self.cross_modality(
            features.tokens, clicks.flatten(1, 2), features.keys_values, _everything
        ).view_as(clicks)
        for index in range(SHARED_STAGES, len(self.stages)):
            if index > SHARED_STAGES:
                tokens = self._stage(index - 1).downsample(tokens)
            tokens = self._stage(index)(tokens)
            maps.append(self._map(index, tokens))
        return maps

    def _shared_stages(
        self, embedding: torch.Tensor, guidance: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return the click stream at 1/16, and the skip stream's maps at 1/4 and 1/8.

        Both streams depend on the clicks and share every weight: they travel as one batch.
        """
        clicks = self.patch_embed(guidance)
        batch = len(clicks)
        both = torch.cat([clicks, embedding + clicks])
        maps = []
        for index in range(SHARED_STAGES):
            stage = self._stage(index)
            both = stage(both)
            maps.append(self._map(index, both[batch:]))
            last = index == SHARED_STAGES - 1
            both = stage.downsample(both[:batch] if last else both)
        return both, maps

    def _stage(self, index: int) -> "_Stage":
        return cast("_Stage", self.stages[index])

    def _map(self, index: int, tokens: torch.Tensor) -> torch.Tensor:
        return self.norms[index](tokens).permute(0, 3, 1, 2)

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


def _everything(tokens: torch.Tensor, index: int) -> torch.Tensor:
    """Let every cross-modality block see the whole map."""
    return tokens


class _Stage(nn.Module):
    """The blocks of one resolution, and the merging that leads to the next."""

    downsample: PatchMerging  # the last stage has none

    def __init__(self, config: ModelConfig, index: int, drop_paths: Iterator[float]) -> None:
        super().__init__()
        dim = config.stage_dims[index]
        heads = config.num_heads[index]
        shifts = (0, config.window_size // 2)
        self.blocks = nn.Sequential(
            *(
                _Block(config, dim, heads, shifts[block % 2], next(drop_paths))
                for block in range(config.depths[index])
            )
        )
        if index < len(config.depths) - 1:
            self.downsample = PatchMerging(dim)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.blocks(tokens)


class _Block(SwinTransformerBlock):
    """timm's block, with the map padded before it is shifted, as in the original Swin.

    timm shifts first. The two differ wherever a map does not divide into windows.
    """

    def __init__(
        self, config: ModelConfig, dim: int, num_heads: int, shift: int, drop: float
    ) -> None:
        super().__init__(
            dim,
            input_resolution=config.window_size,
            num_heads=num_heads,
            window_size=config.window_size,
            shift_size=shift,
            always_partition=True,
            dynamic_mask=True,
            drop_path=drop,
        )
        self.attn = _WindowAttention(dim, num_heads, window_size=config.window_size)

    def _attn(self, tokens: torch.Tensor) -> torch.Tensor:
        _, height, width, channels = tokens.shape
        window, shift = self.window_size, self.shift_size
        padding = (0, 0, 0, -width % window[1], 0, -height % window[0])
        if any(padding):
            tokens = F.pad(tokens, padding)
        if any(shift):
            tokens = tokens.roll((-shift[0], -shift[1]), dims=(1, 2))
        windows = window_partition(tokens, window).flatten(1, 2)
        windows = self.attn(windows, mask=self.get_attn_mask(tokens))
        windows = windows.view(-1, *window, channels)
        tokens = window_reverse(windows, window, tokens.shape[1], tokens.shape[2])
        if any(shift):
            tokens = tokens.roll(shift, dims=(1, 2))
        return tokens[:, :height, :width]


class _WindowAttention(WindowAttention):
    """timm's attention inside windows, fused where that pays.

    With a bias on every score, the fused kernels of CPUs are slower than the plain formula: a
    training step of the starter in bf16 took 16 % longer, a pass 7 %. CUDA's are faster.
    """

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        if not tokens.is_cuda:
            return super().forward(tokens, mask)
        qkv = self.qkv(tokens).unflatten(-1, (3, self.num_heads, -1))
        queries, keys, values = qkv.permute(2, 0, 3, 1, 4).unbind()
        bias = self._get_rel_pos_bias()
        if mask is not None:
            bias = (bias + mask.unsqueeze(1)).repeat(len(tokens) // len(mask), 1, 1, 1)
        attended = F.scaled_dot_product_attention(queries, keys, values, attn_mask=bias)
        return self.proj(attended.transpose(1, 2).flatten(2))
