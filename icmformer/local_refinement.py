"""Local refinement: what a close-up of a correction shows goes back into the whole mask."""

import numpy as np

from icmformer.region_of_interest import RegionOfInterest

# Of a side: over this width the close-up takes over, so that no straight seam is left.
_RIM = 0.25


def blend_in(whole: np.ndarray, close: np.ndarray, window: RegionOfInterest) -> None:
    """Put the probability of a close-up where its window is.

    Near the window's borders the one goes over into the other, but not where the image ends.

    Args:
        whole: (H, W) float32 in [0, 1], of the whole view; is written to.
        close: (H, W) float32 in [0, 1]; counts inside the window alone.
        window: what the close-up showed.
    """
    height, width = whole.shape
    rows = _weights(window.row_min, window.row_max, height)
    columns = _weights(window.column_min, window.column_max, width)
    weight = np.minimum(rows[:, None], columns[None, :])
    inside = whole[window.slices]
    inside += weight * (close[window.slices] - inside)


def _weights(first: int, last: int, length: int) -> np.ndarray:
    """Return the close-up's weight along one side of its window."""
    count = last - first + 1
    steps = np.arange(1, count + 1, dtype=np.float32) / (_RIM * count)
    weights = np.ones(count, dtype=np.float32)
    if first > 0:
        weights = np.minimum(weights, steps)
    if last < length - 1:
        weights = np.minimum(weights, steps[::-1])
    return weights
