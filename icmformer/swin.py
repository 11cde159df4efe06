"""Swin transformer with two streams and a skip stream (paper section 3.1).

Image X and clicks Y share the patch embedding and the first two stages, meet in the
cross-modality blocks at 1/16 resolution, and their sum passes the last two stages. A third stream,
the sum of both patch embeddings, passes the first two stages only to make the fine maps for the
head; the paper does not mention it, the published numbers were obtained with it.
"""

from collections.abc import Iterator
from itertools import count
from typing import cast

import torch
from torch import nn
from torch.nn import functional as F

from icmformer.config import ModelConfig
from icmformer.cross_modality import CrossModality
from icmformer.errors import InputError
from icmformer.image_features import ImageFeatures
from icmformer.transformer import FeedForward, PatchEmbedding
from icmformer.window_attention import WindowAttention, from_windows, shift_mask, to_windows

NORM_EPS = 1e-5
SHARED_STAGES = 2


class Swin(nn.Module):
    """A hierarchical transformer of four stages; its maps are (B, H, W, C) inside."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.out_channels = config.stage_dims
        self.patch_embed = PatchEmbedding(config.patch_size, config.embed_dim, norm=True)
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

    downsample: "_PatchMerging"  # the last stage has none

    def __init__(self, config: ModelConfig, index: int, drop_paths: Iterator[float]) -> None:
        super().__init__()
        dim = config.stage_dims[index]
        heads = config.num_heads[index]
        shifts = (0, config.window_size // 2)
        self.blocks = nn.Sequential(
            *(
                _Block(dim, heads, config.window_size, shifts[block % 2], next(drop_paths))
                for block in range(config.depths[index])
            )
        )
        if index < len(config.depths) - 1:
            self.downsample = _PatchMerging(dim)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.blocks(tokens)


class _Block(nn.Module):
    """Attention inside windows and a feed-forward network, on a map (B, H, W, C).

    A map that does not divide into windows is padded before it is shifted, as in the original
    Swin. (timm shifts first.)
    """

    def __init__(
        self, dim: int, num_heads: int, window_size: int, shift: int, drop_path: float
    ) -> None:
        super().__init__()
        self.window_size = window_size
        self.shift = shift
        self.drop_path = drop_path
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, num_heads, window_size)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = FeedForward(dim)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        tokens = tokens + self._drop(self._attend(self.norm1(tokens)))
        return tokens + self._drop(self.mlp(self.norm2(tokens)))

    def _attend(self, tokens: torch.Tensor) -> torch.Tensor:
        height, width = tokens.shape[1:3]
        padding = (0, 0, 0, -width % self.window_size, 0, -height % self.window_size)
        if any(padding):
            tokens = F.pad(tokens, padding)
        rows, columns = tokens.shape[1:3]
        mask = None
        if self.shift:
            tokens = tokens.roll((-self.shift, -self.shift), dims=(1, 2))
            mask = shift_mask(tokens, self.window_size, self.shift)
        windows = self.attn(to_windows(tokens, self.window_size), mask)
        tokens = from_windows(windows, self.window_size, rows, columns)
        if self.shift:
            tokens = tokens.roll((self.shift, self.shift), dims=(1, 2))
        return tokens[:, :height, :width]

    def _drop(self, change: torch.Tensor) -> torch.Tensor:
        """In training, leave out the change of some samples, and scale up that of the others.

        Stochastic depth (Huang et al., ECCV 2016).
        """
        if not self.training or not self.drop_path:
            return change
        kept = 1 - self.drop_path
        return change * change.new_empty(len(change), 1, 1, 1).bernoulli_(kept).div_(kept)


class _PatchMerging(nn.Module):
    """Halve a map's height and width, double its channels: (B, H, W, C) to (B, H/2, W/2, 2C)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        height, width = tokens.shape[1:3]
        if height % 2 or width % 2:
            tokens = F.pad(tokens, (0, 0, 0, width % 2, 0, height % 2))
        squares = tokens.unflatten(2, (-1, 2)).unflatten(1, (-1, 2))
        # of each square the left column comes before the right one
        return self.reduction(self.norm(squares.permute(0, 1, 3, 4, 2, 5).flatten(3)))
