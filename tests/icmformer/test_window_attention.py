"""Windows: what is cut and put together, and that both ways to attend are one formula."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from icmformer import window_attention
from icmformer.window_attention import (
    WindowAttention,
    _attend,
    _attend_fused,
    from_windows,
    shift_mask,
    to_windows,
)

few = st.integers(1, 4)


@given(images=few, down=few, across=few, size=few)
def test_windows_are_cut_row_by_row_and_put_back(images, down, across, size):
    rows, columns = down * size, across * size
    tokens = torch.arange(images * rows * columns * 2).view(images, rows, columns, 2)

    windows = to_windows(tokens, size)

    last = tokens[-1, -size:, -size:].flatten(0, 1)
    assert windows.shape == (images * down * across, size * size, 2)
    assert torch.equal(windows[-1], last)
    assert torch.equal(from_windows(windows, size, rows, columns), tokens)


@pytest.mark.parametrize("shift", [0, 2])
def test_fused_kernels_compute_the_same(shift):
    """CUDA always takes the fused ones, CPUs where they only answer."""
    torch.manual_seed(0)
    windows, area, heads = 2 * 6, 16, 3
    queries, keys, values = torch.randn(3, windows, heads, area, 8).unbind()
    bias = torch.randn(1, heads, area, area)
    mask = shift_mask(torch.zeros(2, 8, 12, 24), 4, shift) if shift else None

    expected = _attend(queries, keys, values, bias, mask)

    torch.testing.assert_close(_attend_fused(queries, keys, values, bias, mask), expected)


@pytest.mark.parametrize("training", [True, False])
def test_cpus_take_fused_kernels_where_nothing_is_trained(training, monkeypatch):
    taken = []
    for name in ("_attend", "_attend_fused"):
        attend = getattr(window_attention, name)
        monkeypatch.setattr(
            window_attention, name, lambda *a, n=name, f=attend: taken.append(n) or f(*a)
        )
    with torch.set_grad_enabled(training):
        WindowAttention(8, num_heads=2, window_size=2)(torch.zeros(3, 4, 8), None)
    assert taken == ["_attend" if training else "_attend_fused"]
