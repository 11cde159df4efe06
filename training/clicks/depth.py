"""How deep pixels lie inside a region."""

import cv2
import numpy as np


def exact_depth(mask: np.ndarray) -> np.ndarray:
    """Return the distance of each pixel to the nearest false one; all outside the image is false.

    OpenCV's last bit depends on where in memory a pixel happens to lie. Squared distances are whole
    numbers, so rounding them makes ties true ties, and every run choose the same pixel.

    Args:
        mask: (H, W) bool.

    Returns:
        (H, W) float64, in pixels; 0 where the mask is false.
    """
    padded = np.pad(mask.astype(np.uint8), 1)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    return np.sqrt(np.rint(np.square(distance, dtype=np.float64)))
