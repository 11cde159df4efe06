"""The paper's idea: one stream of tokens is guided by the other (section 3.2, figure 3b).

A cross-modality block updates one stream, the guided one, in three residual steps: it attends to
itself, then to the source stream, and passes a feed-forward network. The source is only read, so
the keys and values a block takes from it can be computed once and kept.

The default direction is the one the reported numbers were trained with: the clicks are guided by
the image. The second exchanges the roles. The third is the block of figure 3b and equation 2: the
clicks attend to themselves, and the image reads what comes of it.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import cast

import torch
from torch import nn
from torch.nn import functional as F

from icmformer.config import CrossDirection
from icmformer.transformer import Attention, FeedForward, join_heads, split_heads

KeysValues = tuple[torch.Tensor, torch.Tensor]
# How the block of that index sees the tokens: a view, one sequence for each of its windows.
TokenView = Callable[[torch.Tensor, int], torch.Tensor]


class CrossAttention(nn.Module):
    """Multi-head attention from one stream to another.

    The projection is one fused parameter (query, key, value), as in self-attention, so that
    weights trained elsewhere fit; each stream is multiplied only with the thirds it needs.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.dim = dim
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def keys_values(self, source: torch.Tensor) -> KeysValues:
        """Project the source (B, M, C) to keys and values, each (B, heads, M, C / heads)."""
        projected = F.linear(source, self.qkv.weight[self.dim :], self.qkv.bias[self.dim :])
        keys, values = split_heads(projected, 2, self.num_heads)
        return keys, values

    def forward(self, tokens: torch.Tensor, keys_values: KeysValues) -> torch.Tensor:
        """Let the tokens (B, N, C) attend to the source; returns (B, N, C)."""
        projected = F.linear(tokens, self.qkv.weight[: self.dim], self.qkv.bias[: self.dim])
        (queries,) = split_heads(projected, 1, self.num_heads)
        return self.proj(join_heads(F.scaled_dot_product_attention(queries, *keys_values)))


class CrossModalityBlock(nn.Module):
    """Self-attention, cross-attention and a feed-forward network on the guided stream, pre-norm.

    The norm before the cross-attention is shared by both streams. GELU and no dropout, where the
    paper's text says ReLU and dropout: so the published numbers were obtained.
    """

    def __init__(self, dim: int, num_heads: int, norm_eps: float) -> None:
        super().__init__()
        norm = partial(nn.LayerNorm, dim, eps=norm_eps)
        self.norm1 = norm()
        self.self_attention = Attention(dim, num_heads)
        self.norm2 = norm()
        self.cross_attention = CrossAttention(dim, num_heads)
        self.norm3 = norm()
        self.mlp = FeedForward(dim)

    def keys_values(self, source: torch.Tensor) -> KeysValues:
        """Return what this block reads of the source stream (B, M, C); see `CrossAttention`."""
        return self.cross_attention.keys_values(self.norm2(source))

    def forward(self, tokens: torch.Tensor, keys_values: KeysValues) -> torch.Tensor:
        """Update the guided stream (B, N, C) from the keys and values of the source."""
        return self.read(self.attend(tokens), keys_values)

    def attend(self, tokens: torch.Tensor) -> torch.Tensor:
        """Let a stream (B, N, C) attend to itself."""
        return tokens + self.self_attention(self.norm1(tokens))

    def read(self, tokens: torch.Tensor, keys_values: KeysValues) -> torch.Tensor:
        """Let a stream (B, N, C) attend to the source and pass the feed-forward network."""
        tokens = tokens + self.cross_attention(self.norm2(tokens), keys_values)
        return tokens + self.mlp(self.norm3(tokens))


class CrossModality(nn.Module):
    """Any number of cross-modality blocks, and the sum of the streams after them.

    Without blocks the streams are added as they are (the rows "w/o" of table 4).
    """

    def __init__(
        self, dim: int, num_heads: int, num_blocks: int, direction: CrossDirection, norm_eps: float
    ) -> None:
        super().__init__()
        self.direction = direction
        self.blocks = nn.ModuleList(
            CrossModalityBlock(dim, num_heads, norm_eps) for _ in range(num_blocks)
        )

    def image_keys_values(self, image: torch.Tensor, view: TokenView) -> tuple[KeysValues, ...]:
        """Return what each block reads of the image (B, N, C); nothing where it is the guided one.

        The blocks never change the source, so this depends on the image alone.
        """
        if self.direction != "image_to_clicks":
            return ()
        return tuple(block.keys_values(view(image, i)) for i, block in self._enumerate())

    def forward(
        self,
        image: torch.Tensor,
        clicks: torch.Tensor,
        image_keys_values: tuple[KeysValues, ...],
        view: TokenView,
    ) -> torch.Tensor:
        """Guide one stream (B, N, C) by the other and return their sum (B, N, C)."""
        for i, block in self._enumerate():
            if self.direction == "image_to_clicks":
                clicks = block(view(clicks, i), image_keys_values[i]).view_as(clicks)
            elif self.direction == "clicks_to_image":
                keys_values = block.keys_values(view(clicks, i))
                image = block(view(image, i), keys_values).view_as(image)
            else:
                clicks = block.attend(view(clicks, i)).view_as(clicks)
                keys_values = block.keys_values(view(clicks, i))
                image = block.read(view(image, i), keys_values).view_as(image)
        return image + clicks

    def _enumerate(self) -> Iterator[tuple[int, CrossModalityBlock]]:
        return enumerate(cast("Iterator[CrossModalityBlock]", iter(self.blocks)))
