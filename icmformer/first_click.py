"""Whether the answer to an object's first click shows an object, or is to be looked for closer.

A network that sees a large image shrunk cannot see what is small in it: it takes everything of that
kind for the object, or the background, and is about as sure of it as of the rest; or it sees
nothing. In a window around the click the same object stands out, and often more in the next smaller
one. What is large stands out in the whole image; where it stands out more in a window that cuts it
off, smaller ones would show parts of it. Where it is known how large objects are, larger windows
than such objects need are not looked at, for in those a hundred of them may stand out together; if
what is found there is much larger after all, the search begins as if that were not known. The
numbers were chosen by trying them on photos, nuclei and surface defects; docs/experiments.md has
what they give.
"""

import numpy as np

from icmformer.region_of_interest import RegionOfInterest, bounding_box
from icmformer.segmentation import MASK_THRESHOLD

# Mean probability inside the mask less that around it, in what was looked at.
_STANDS_OUT = 0.4
_CLEARER = 0.05
# Side of the largest window that is needed, over that of the objects, at least.
_ROOM = 4.0
# Share of such a window that hardly any of them fills: of one twice as long as they are.
_MUCH = 0.25
# Pixels that are read along the longer side of a region, at most.
_SAMPLES = 512


def not_too_large(windows: list[RegionOfInterest], object_side: float) -> list[RegionOfInterest]:
    """Leave out the windows that are larger than objects of a known size need.

    Args:
        windows: at least one, from large to small.
        object_side: longer side of the objects, in pixels of the image.

    Returns:
        The smallest that has room for such an object and its surroundings, or else the first; and
        all smaller ones.
    """
    roomy = [window for window in windows if max(window.size_hw) >= _ROOM * object_side]
    return windows[max(len(roomy) - 1, 0) :]


def fills_much(probability: np.ndarray, window: RegionOfInterest) -> bool:
    """Say whether a mask is too large in a window for an object of the size that it was chosen for.

    Args:
        probability: (H, W) float32 in [0, 1], after a look at the window.
        window: what was looked at.
    """
    return float((probability[window.slices] > MASK_THRESHOLD).mean()) > _MUCH


def stands_out(probability: np.ndarray, region: RegionOfInterest) -> bool:
    """Say whether the mask differs from what is around it, as that of an object does.

    Args:
        probability: (H, W) float32 in [0, 1], what the network answered after a look at the region.
        region: what was looked at.
    """
    return _contrast(probability, region) >= _STANDS_OUT


def is_clearer(
    closer: np.ndarray, window: RegionOfInterest, found: np.ndarray, region: RegionOfInterest
) -> bool:
    """Say whether in a closer look the mask stands out more.

    Args:
        closer: (H, W) float32 in [0, 1], after a look at the window.
        window: what was looked at then, smaller than the region.
        found: the same before, after a look at the region.
        region: what was looked at before.
    """
    return _contrast(closer, window) >= _contrast(found, region) + _CLEARER


def is_cut_off(probability: np.ndarray, window: RegionOfInterest) -> bool:
    """Say whether a mask reaches a border of what was looked at that is none of the image.

    Args:
        probability: (H, W) float32 in [0, 1], after a look at the window.
        window: what was looked at.
    """
    box = bounding_box(probability > MASK_THRESHOLD)
    height, width = probability.shape
    return box is not None and (
        0 < box.row_min == window.row_min
        or 0 < box.column_min == window.column_min
        or box.row_max == window.row_max < height - 1
        or box.column_max == window.column_max < width - 1
    )


def _contrast(probability: np.ndarray, region: RegionOfInterest) -> float:
    """Return how much more probable the mask's pixels are than the others of the region.

    0 where there is no mask, and not more where there is nothing else.
    """
    # Few of a large region's pixels: the network told no more of them apart.
    step = -(-max(region.size_hw) // _SAMPLES)
    seen = probability[region.slices][::step, ::step]
    mask = seen > MASK_THRESHOLD
    if not mask.any():
        return 0.0
    outside = 1.0 if mask.all() else float(seen[~mask].mean())
    return float(seen[mask].mean()) - outside
