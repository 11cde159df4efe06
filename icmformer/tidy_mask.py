"""What people expect of a mask they clicked, whatever the network says.

A positive click lies inside, a negative one outside, there are no specks or pinholes, and a
correction leaves alone what it was not about; so does an object's first click what it is not on.
Used where people click, never in benchmarks. What it leaves is what the next pass of the network
reads as previous mask: people correct what they see.
"""

import cv2
import numpy as np

from icmformer.placed_clicks import PlacedClicks
from icmformer.region_of_interest import View, bounding_box, clicks_in_view
from icmformer.segmentation import MASK_THRESHOLD

# In pixels of the network, which cannot mean anything by 4 × 4 of them.
_LEAST_AREA = 16
# Parts and holes below this share of the mask's area go, unless somebody clicked into them. Holes
# are kept more easily, because the gaps of lattices and spokes are many and small.
_LEAST_PART = 0.01
_LEAST_HOLE = 0.001
_REPAIR_RADIUS = 2.0
# In pixels of the network: half the radius of the disk that stands for a click.
_REACH = 2.5


def pixels_in_view(clicks: PlacedClicks, view: View) -> tuple[np.ndarray, np.ndarray]:
    """Return where the clicks inside a view lie in it, (N, 2) int row, column, and their signs."""
    places = np.rint(clicks_in_view(clicks.pixels, view)).astype(np.int64)
    inside = ((places >= 0) & (places < view.size_hw)).all(axis=1)
    return places[inside], clicks.positive[inside]


def without_specks(probability: np.ndarray, pixels: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Drop small parts without a positive click and fill small holes without a negative one.

    Args:
        probability: (h, w) float32 in [0, 1], at the network's resolution.
        pixels: (N, 2) int, row and column of the clicks that lie on it.
        positive: (N,) bool.

    Returns:
        A new (h, w) float32: 0 where a part was dropped, 1 where a hole was filled.
    """
    result = probability.copy()
    if not positive.any():
        return result
    mask = result > MASK_THRESHOLD
    area = np.count_nonzero(mask)
    labels, small = small_parts(mask, max(_LEAST_AREA, _LEAST_PART * area), pixels[positive], 8)
    result[small[labels]] = 0
    # Whatever reaches the border of the crop is no hole: the padding connects it.
    background = np.pad(result <= MASK_THRESHOLD, 1, constant_values=True)
    least = max(_LEAST_AREA, _LEAST_HOLE * area)
    labels, small = small_parts(background, least, pixels[~positive] + 1, 4)
    result[small[labels][1:-1, 1:-1]] = 1
    return result


def small_parts(
    mask: np.ndarray, least_area: float, clicked: np.ndarray, connectivity: int
) -> tuple[np.ndarray, np.ndarray]:
    """Tell which parts of a mask are small and have no click.

    Args:
        mask: (h, w) bool.
        least_area: in pixels, of a part that is not small.
        clicked: (N, 2) int, row and column of the clicks that keep a part.
        connectivity: 4, or 8 where corners connect, too.

    Returns:
        The number of each pixel's part, (h, w) int32, 0 outside of the mask; and which numbers are
        those of such parts, (count,) bool.
    """
    _, labels, stats, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=connectivity
    )
    small = stats[:, cv2.CC_STAT_AREA] < least_area
    small[labels[clicked[:, 0], clicked[:, 1]]] = False
    small[0] = False  # what is not in the mask
    return labels, small


def obey_clicks(probability: np.ndarray, clicks: PlacedClicks, view: View) -> None:
    """Correct a mask around the clicks that it contradicts, and only there.

    A small disk is put there rather than a pixel, so that people see their click did something. It
    reaches at most half the way to the next click of the other sign; of two clicks on the same
    pixel the later counts.

    Args:
        probability: (H, W) float32 in [0, 1], of the image; becomes 1 or 0 in disks.
        clicks: on the image.
        view: what the network saw.
    """
    radius_hw = _REPAIR_RADIUS * np.array(view.box.size_hw) / np.array(view.size_hw)
    for (row, column), positive in zip(clicks.pixels, clicks.positive, strict=True):
        if (probability[row, column] > MASK_THRESHOLD) != positive:
            others = clicks.pixels[clicks.positive != positive] - (row, column)
            reach = np.hypot(*others.T).min(initial=np.inf) / 2
            radii = np.minimum(radius_hw, reach)
            _paint_disk(probability, (int(row), int(column)), radii, value=float(positive))


def take_back_far_changes(
    before: np.ndarray, after: np.ndarray, pixel: np.ndarray, view: View
) -> None:
    """Take back what a correction changed elsewhere than around its click.

    Of the connected areas in which the mask changed, those stay that reach the click; if none
    does, the click was about something else than what was seen, and everything stays.

    Args:
        before: (H, W) float32 in [0, 1], of the image, that was clicked.
        after: (H, W) float32 in [0, 1], the answer; is written to.
        pixel: (2,) int, row and column of the click.
        view: what the network saw.
    """
    changed = (before > MASK_THRESHOLD) != (after > MASK_THRESHOLD)
    box = bounding_box(changed)
    if box is None:
        return
    # The labels of a whole large image would take longer than the network.
    inside = changed[box.slices].astype(np.uint8)
    count, labels = cv2.connectedComponents(inside, connectivity=8)
    reach = (_REACH * np.array(view.box.size_hw) / view.size_hw).astype(np.int64)
    place = pixel - (box.row_min, box.column_min)
    (top, left), (bottom, right) = np.maximum((place - reach, place + reach + 1), 0)
    stays = np.zeros(count, dtype=bool)
    stays[labels[top:bottom, left:right]] = True
    if stays[1:].any():
        stays[0] = True  # what did not change
        np.copyto(after[box.slices], before[box.slices], where=~stays[labels])


def _paint_disk(
    plane: np.ndarray, centre: tuple[int, int], radii: np.ndarray, value: float
) -> None:
    top, left = (max(c - int(r), 0) for c, r in zip(centre, radii, strict=True))
    window = plane[top : centre[0] + int(radii[0]) + 1, left : centre[1] + int(radii[1]) + 1]
    rows, columns = np.ogrid[top : top + window.shape[0], left : left + window.shape[1]]
    # Half a pixel at least: the click's own pixel is always painted.
    down, across = np.maximum(radii, 0.5)
    window[((rows - centre[0]) / down) ** 2 + ((columns - centre[1]) / across) ** 2 <= 1] = value
