"""What both backbones and the cross-modality blocks are built of: patches, attention, feed-forward.

Pre-norm blocks without dropout, after Vaswani et al. (2017) and Dosovitskiy et al. (2021). They
compute what timm's compute, and name their weights alike, so that pretrained ones fit. They are
not imported from there, because importing timm takes longer than importing torch (it brings all of
torchvision and torch's compiler), and every server and every job would wait for it.
"""

import torch
from torch import nn
from torch.nn import functional as F


class PatchEmbedding(nn.Module):
    """One token for each square patch of an image."""

    def __init__(self, patch_size: int, dim: int, *, norm: bool) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Conv2d(3, dim, patch_size, stride=patch_size)
        self.norm = nn.LayerNorm(dim) if norm else nn.Identity()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Embed an image (B, 3, H, W) as a map of tokens (B, h, w, C).

        If it does not divide into patches it is padded with zeros, at the bottom and the right.
        """
        height, width = image.shape[-2:]
        padding = (0, -width % self.patch_size, 0, -height % self.patch_size)
        if any(padding):
            image = F.pad(image, padding)
        return self.norm(self.proj(image).permute(0, 2, 3, 1))


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Let the tokens (B, N, C) attend to each other; returns (B, N, C)."""
        queries, keys, values = split_heads(self.qkv(tokens), 3, self.num_heads)
        attended = F.scaled_dot_product_attention(queries, keys, values)
        return self.proj(join_heads(attended))


class FeedForward(nn.Module):
    """Two linear layers, four times as wide in between, with a GELU."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Change each token (…, C) by itself; returns (…, C)."""
        return self.fc2(F.gelu(self.fc1(tokens)))


class Block(nn.Module):
    """Self-attention and a feed-forward network, each added to what it reads."""

    def __init__(self, dim: int, num_heads: int, norm_eps: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=norm_eps)
        self.attn = Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=norm_eps)
        self.mlp = FeedForward(dim)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Update the tokens (B, N, C)."""
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


def split_heads(tokens: torch.Tensor, parts: int, num_heads: int) -> tuple[torch.Tensor, ...]:
    """Cut projected tokens (B, N, parts · C) into that many (B, heads, N, C / heads)."""
    by_head = tokens.unflatten(-1, (parts, num_heads, -1))
    return by_head.permute(2, 0, 3, 1, 4).unbind()


def join_heads(attended: torch.Tensor) -> torch.Tensor:
    """Put (B, heads, N, C / heads) together to (B, N, C)."""
    return attended.transpose(1, 2).flatten(2)
