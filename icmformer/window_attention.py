"""Attention inside square windows, shifted in every second block (Swin; Liu et al., ICCV 2021).

Maps of tokens are (B, H, W, C), windows of them (B · windows, N, C) with N = size² tokens.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from icmformer.transformer import join_heads, split_heads


class WindowAttention(nn.Module):
    """Multi-head self-attention inside each window, with a learned bias for every offset."""

    relative_position_index: torch.Tensor

    def __init__(self, dim: int, num_heads: int, window_size: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window_size = window_size
        self.relative_position_bias_table = nn.Parameter(
            torch.empty((2 * window_size - 1) ** 2, num_heads)
        )
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        index = torch.from_numpy(_relative_position_index(window_size))
        self.register_buffer("relative_position_index", index, persistent=False)

    def forward(self, windows: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Let the tokens of each window (B · windows, N, C) attend to each other.

        Args:
            windows: those of one image after those of another.
            mask: (windows, N, N), added to the scores; see `shift_mask`.
        """
        queries, keys, values = split_heads(self.qkv(windows), 3, self.num_heads)
        bias = self.relative_position_bias_table[self.relative_position_index]
        bias = bias.permute(2, 0, 1).contiguous().unsqueeze(0)
        fused = windows.is_cuda or not torch.is_grad_enabled()
        attend = _attend_fused if fused else _attend
        return self.proj(join_heads(attend(queries, keys, values, bias, mask)))


def _relative_position_index(size: int) -> NDArray[np.int64]:
    """Return which entry of the bias table belongs to each pair of a window's tokens, (N, N)."""
    rows, columns = np.indices((size, size)).reshape(2, -1)
    down = rows[:, None] - rows[None, :] + size - 1
    across = columns[:, None] - columns[None, :] + size - 1
    return down * (2 * size - 1) + across


def _attend(
    queries: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    bias: torch.Tensor,
    mask: torch.Tensor | None,
) -> torch.Tensor:
    """Attend as the formula says; on a CPU a training step in bf16 takes less time so."""
    scores = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-2, -1) + bias
    if mask is not None:
        by_image = scores.unflatten(0, (-1, len(mask)))
        scores = (by_image + mask.unsqueeze(1)).flatten(0, 1)
    return scores.softmax(-1) @ values


def _attend_fused(
    queries: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    bias: torch.Tensor,
    mask: torch.Tensor | None,
) -> torch.Tensor:
    """Attend with a fused kernel, which writes down no scores."""
    bias = bias.to(queries.dtype)
    if mask is not None:
        bias = bias + mask.unsqueeze(1).to(queries.dtype)
        bias = bias.repeat(len(queries) // len(mask), 1, 1, 1)
    return F.scaled_dot_product_attention(queries, keys, values, attn_mask=bias)


def shift_mask(tokens: torch.Tensor, window_size: int, shift: int) -> torch.Tensor:
    """Return what keeps apart the tokens that a shift brought together from opposite borders.

    Args:
        tokens: the shifted map (B, H, W, C), which divides into windows.
        window_size: tokens along a side of a window.
        shift: tokens by which the map was rolled up and left; more than none.

    Returns:
        (windows, N, N) of the same dtype, to be added to scores: 0, or -100 between such tokens.
    """
    rows, columns = (
        _bands(length, window_size, shift, tokens.device) for length in tokens.shape[1:3]
    )
    regions = 3 * rows[:, None] + columns[None, :]
    (ids,) = to_windows(regions[None, :, :, None], window_size).unbind(-1)
    mask = tokens.new_zeros(len(ids), ids.shape[1], ids.shape[1])
    return mask.masked_fill_(ids[:, :, None] != ids[:, None, :], -100.0)


def _bands(length: int, window_size: int, shift: int, device: torch.device) -> torch.Tensor:
    """Number the stretches of a side that may see each other: 0, and 1 and 2 in the last window."""
    along = torch.arange(length, device=device)
    return (along >= length - window_size).long() + (along >= length - shift).long()


def to_windows(tokens: torch.Tensor, window_size: int) -> torch.Tensor:
    """Cut a map (B, H, W, C) that divides into windows: (B · windows, N, C), row by row."""
    cut = tokens.unflatten(2, (-1, window_size)).unflatten(1, (-1, window_size))
    return cut.transpose(2, 3).flatten(0, 2).flatten(1, 2)


def from_windows(windows: torch.Tensor, window_size: int, rows: int, columns: int) -> torch.Tensor:
    """Put windows (B · windows, N, C) back to the map (B, rows, columns, C) they were cut from."""
    grid = (-1, rows // window_size, columns // window_size)
    cut = windows.unflatten(1, (window_size, window_size)).unflatten(0, grid)
    return cut.transpose(2, 3).flatten(3, 4).flatten(1, 2)
