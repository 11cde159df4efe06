"""Pictures of single samples: image, clicks, mask and probability map (figures 5 and 8 to 11)."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from icmformer.clicks import Click
from training.datasets.sample import EvaluationSample
from training.evaluation.click_by_click import Step
from training.evaluation.noc import ScoreCard, iou

_MOST_WIDTH = 208
_MOST_HEIGHT = 170
_MOST_PANELS = 4
# Red, green, blue.
_MASK = (235, 40, 110)
_OUTLINE = (255, 255, 255)
_TRUTH = (255, 220, 0)
_POSITIVE = (0, 200, 60)
_NEGATIVE = (40, 90, 255)


@dataclass(frozen=True)
class Panel:
    """One moment of a sample; pictures are data URLs of JPEG images."""

    caption: str
    overlay: str
    probability: str


@dataclass(frozen=True)
class Strip:
    """One sample from its first click to its last."""

    name: str
    truth: str
    panels: tuple[Panel, ...]


def choose_samples(card: ScoreCard, count: int, threshold: float = 0.90) -> dict[str, list[int]]:
    """Choose what a person should look at.

    Args:
        card: of the run.
        count: samples of each kind.
        threshold: the IoU that counts as success; at most the run's target.

    Returns:
        Positions in the card, by kind: "typical" successes needed the median number of clicks,
        "challenging" ones needed most, "failures" never got there and end with the lowest IoU.
    """
    clicks = card.clicks_to_reach(threshold)
    reached = np.array([max(sample.ious) >= threshold for sample in card.samples])
    successes = np.flatnonzero(reached)
    by_clicks = successes[np.argsort(clicks[successes], kind="stable")]
    middle = max(len(by_clicks) // 2 - count // 2, 0)
    typical = by_clicks[middle : middle + count]
    challenging = [i for i in by_clicks[::-1] if i not in typical and clicks[i] > 1][:count]
    final = np.array([sample.ious[-1] for sample in card.samples])
    worst = [i for i in np.argsort(final, kind="stable") if not reached[i]][:count]
    return {
        kind: [int(i) for i in chosen]
        for kind, chosen in (
            ("typical", typical),
            ("challenging", challenging),
            ("failures", worst),
        )
    }


def strip(sample: EvaluationSample, steps: Sequence[Step]) -> Strip:
    """Draw a sample's first click, its last, and up to two in between; before them its start.

    Args:
        sample: that was clicked.
        steps: all of them, at least one.
    """
    moments = _MOST_PANELS - (sample.initial_mask is not None)
    shown = np.unique(np.linspace(0, len(steps) - 1, moments).round().astype(int))
    height, width = sample.target.shape
    scale = min(_MOST_WIDTH / width, _MOST_HEIGHT / height)
    truth = _resized(sample.image, scale)
    _outline(truth, _resized((sample.target == 1).astype(np.uint8), scale), _TRUTH)
    panels = [] if sample.initial_mask is None else [_start(sample, scale)]
    for index in shown:
        clicks = [step.click for step in steps[: index + 1]]
        panels.append(
            Panel(
                caption=f"{index + 1} {'click' if index == 0 else 'clicks'}, "
                f"IoU {steps[index].iou:.3f}",
                overlay=_data_url(
                    overlay(sample.image, steps[index].segmentation.mask, clicks, scale)
                ),
                probability=_data_url(heat(steps[index].segmentation.probability, scale)),
            )
        )
    return Strip(sample.name, _data_url(truth), tuple(panels))


def overlay(
    image: np.ndarray, mask: np.ndarray, clicks: Sequence[Click], scale: float
) -> np.ndarray:
    """Draw a mask and clicks on an image.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool.
        clicks: in pixels of the image.
        scale: of the picture.

    Returns:
        (scale · H, scale · W, 3) uint8 RGB. Dots and lines grow with it, as if a thumbnail did.
    """
    picture, small = _resized(image, scale), _resized(mask.astype(np.uint8), scale)
    inside = small > 0
    picture[inside] = (0.55 * picture[inside] + 0.45 * np.array(_MASK)).astype(np.uint8)
    _outline(picture, small, _OUTLINE)
    unit = 16 * _line_width(picture)
    for click in clicks:
        # A shift of four bits lets OpenCV draw between pixels.
        centre = (round(click.x * scale * 16 - 8), round(click.y * scale * 16 - 8))
        cv2.circle(picture, centre, 4 * unit, _OUTLINE, -1, cv2.LINE_AA, shift=4)
        colour = _POSITIVE if click.positive else _NEGATIVE
        cv2.circle(picture, centre, 3 * unit, colour, -1, cv2.LINE_AA, shift=4)
        if not click.positive:  # told apart without colours, too
            (x, y), half = centre, 2 * unit
            thickness = unit // 16
            cv2.line(picture, (x - half, y), (x + half, y), _OUTLINE, thickness, cv2.LINE_AA, 4)
    return picture


def heat(probability: np.ndarray, scale: float) -> np.ndarray:
    """Colour a probability map from 0, dark blue, to 1, yellow (figures 10 and 11).

    Args:
        probability: (H, W) float in [0, 1].
        scale: of the picture.

    Returns:
        (scale · H, scale · W, 3) uint8 RGB.
    """
    grey = (255 * _resized(probability, scale)).round().astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(grey, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)


def _start(sample: EvaluationSample, scale: float) -> Panel:
    """Draw the mask that is to be corrected."""
    assert sample.initial_mask is not None
    return Panel(
        caption=f"to be corrected, IoU {iou(sample.target, sample.initial_mask):.3f}",
        overlay=_data_url(overlay(sample.image, sample.initial_mask, [], scale)),
        probability=_data_url(heat(sample.initial_mask.astype(np.float32), scale)),
    )


def _outline(picture: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int]) -> None:
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, colour, _line_width(picture), cv2.LINE_AA)


def _line_width(picture: np.ndarray) -> int:
    """Return a width in pixels that is seen as well in a large picture as one in a thumbnail."""
    return max(1, round(min(picture.shape[:2]) / _MOST_HEIGHT))


def _resized(plane: np.ndarray, scale: float) -> np.ndarray:
    size = (max(1, round(plane.shape[1] * scale)), max(1, round(plane.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    return cv2.resize(plane, size, interpolation=how)


def _data_url(picture: np.ndarray) -> str:
    """Return an RGB picture as the text of an image that needs no file."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, 80]
    _, content = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), quality)
    return f"data:image/jpeg;base64,{base64.b64encode(content.tobytes()).decode()}"
