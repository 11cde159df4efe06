"""Does a click feel right? `python -m training click-feel --checkpoint … [--data …] NAME …`.

Benchmarks count clicks. People also mind what happens around each one: whether the pixel they
clicked ends on the right side, whether the mask has specks, and whether a correction leaves alone
what was right already. Objects are clicked as people click, near the middle of the largest error
but not exactly there, once as the network is served and once as benchmarks use it.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from icmformer.clicks import Click, rows_columns
from icmformer.tidy_mask import small_parts
from training.clicks.annotator import JitteredAnnotator
from training.datasets.benchmarks import BENCHMARKS, add_data_argument, open_benchmark
from training.datasets.sample import IGNORE, EvaluationSample
from training.devices import add_device_argument
from training.evaluation.click_by_click import ClickSegmenter, click_through
from training.evaluation.contestants import Checkpoint, Contestant, Served
from training.evaluation.text_table import markdown_table
from training.home_paths import given_path
from training.progress import progress
from training.whole_numbers import positive

# A part or hole below this share of the mask looks like dirt, unless somebody clicked into it.
_SPECK_SHARE = 0.01
# How far around an error a correction may reach, in sides of a square as large as the object.
_NEIGHBOURHOOD = 0.15
# Fields of an effect, the titles of their columns, and how their means are written.
_COLUMNS = (
    ("iou", "mIoU", "{:.3f}"),
    ("positive_inside", "positive inside", "{:.1%}"),
    ("negative_outside", "negative outside", "{:.1%}"),
    ("specks", "specks", "{:.2f}"),
    ("near", "change near", "{:.1%}"),
    ("far_repaired", "far repaired", "{:.2%}"),
    ("far_spoiled", "far spoiled", "{:.2%}"),
)
_EXPLANATION = """
Means over the objects that were still clicked: one that has reached an IoU of 0.95 is left out from
then on, so that mIoU may fall (the benchmark's carries such objects on).

positive inside    positive clicks so far that lie inside the mask
negative outside   negative clicks so far that lie outside
specks             small parts and pinholes of a mask that nobody clicked
change near        pixels changed by the click that lie in the error it hit, or around it
far repaired       pixels away from that error that became right, per pixel of the object
far spoiled        pixels away from it that became wrong, per pixel of the object
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "--checkpoint",
        type=given_path,
        required=True,
        metavar="FILE",
        help=".safetensors of this project, or .pth of the authors'",
    )
    add_data_argument(parser)
    parser.add_argument(
        "datasets", nargs="+", metavar="NAME", help=f"{', '.join(BENCHMARKS)} or folder:PATH"
    )
    parser.add_argument("--max-clicks", type=positive, default=5)
    parser.add_argument(
        "--every", type=positive, default=1, metavar="N", help="only every N-th object"
    )
    add_device_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Run the command: write a table for each data set to the standard output."""
    path, device = arguments.checkpoint, arguments.device
    datasets = {name: open_benchmark(name, arguments.data) for name in arguments.datasets}
    contestants: dict[str, Contestant] = {
        "as served": Served(path.stem, path, device),
        "the network alone": Checkpoint(path.stem, path, device),
    }
    for name, dataset in datasets.items():
        indices = range(0, len(dataset), arguments.every)
        for how, contestant in contestants.items():
            segmenter = contestant.segmenter(name)
            effects = [
                object_effects(segmenter, dataset[index], arguments.max_clicks)
                for index in progress(indices, desc=f"{name}, {how}", unit="obj")
            ]
            sys.stdout.write(f"\n{name}, {how}:\n\n{table(effects)}\n")
    sys.stdout.write(_EXPLANATION)


@dataclass(frozen=True)
class ClickEffect:
    """What a mask is like after a click, and what the click did to it.

    Attributes:
        iou: in [0, 1].
        positive_inside: share of the positive clicks so far that lie inside; NaN without any.
        negative_outside: share of the negative clicks so far that lie outside; NaN without any.
        specks: number of small parts and pinholes that nobody clicked.
        near: share of the changed pixels that lie in the error that was clicked or around it; NaN
            at the first click and where nothing changed.
        far_repaired: pixels away from it that became right, per pixel of the object; NaN at first.
        far_spoiled: pixels away from it that became wrong, per pixel of the object; NaN at first.
    """

    iou: float
    positive_inside: float
    negative_outside: float
    specks: int
    near: float
    far_repaired: float
    far_spoiled: float


def object_effects(
    predictor: ClickSegmenter, sample: EvaluationSample, max_clicks: int
) -> list[ClickEffect]:
    """Click on one object and describe every click.

    Args:
        predictor: answers.
        sample: image and true mask.
        max_clicks: fewer if the IoU reaches 0.95 before.
    """
    clicks: list[Click] = []
    effects: list[ClickEffect] = []
    before: np.ndarray | None = None
    for step in click_through(
        predictor, sample, max_clicks=max_clicks, target_iou=0.95, annotator=JitteredAnnotator()
    ):
        clicks.append(step.click)
        mask = step.segmentation.mask
        near, repaired, spoiled = np.nan, np.nan, np.nan
        if before is not None:
            near, repaired, spoiled = effect_of_change(sample.target, before, mask, step.click)
        inside, outside = _obeyed(mask, clicks)
        effects.append(
            ClickEffect(
                iou=step.iou,
                positive_inside=inside,
                negative_outside=outside,
                specks=count_specks(mask, clicks),
                near=near,
                far_repaired=repaired,
                far_spoiled=spoiled,
            )
        )
        before = mask
    return effects


def count_specks(mask: np.ndarray, clicks: Sequence[Click]) -> int:
    """Count small parts without a positive click and small holes without a negative one.

    Args:
        mask: (H, W) bool; what is below one per cent of its area is small.
        clicks: that led to it.
    """
    least = _SPECK_SHARE * np.count_nonzero(mask)
    pixels, positive = _placed(clicks)
    # Whatever reaches the border is no hole: the padding connects it, and is never small.
    background = np.pad(~mask, 1, constant_values=True)
    kept = np.concatenate([[(0, 0)], pixels[~positive] + 1])
    _, parts = small_parts(mask, least, pixels[positive], 8)
    _, holes = small_parts(background, least, kept, 4)
    return int(parts.sum() + holes.sum())


def effect_of_change(
    target: np.ndarray, before: np.ndarray, after: np.ndarray, click: Click
) -> tuple[float, float, float]:
    """Say where a correction changed the mask.

    Args:
        target: (H, W) int8; 1 is the object, -1 is ignored.
        before: (H, W) bool, the mask that was clicked.
        after: (H, W) bool, the answer.
        click: lies in an error of `before`.

    Returns:
        Share of the changed pixels that are near, then the far ones that became right and those
        that became wrong, both per pixel of the object.
    """
    near = _neighbourhood(target, before, click)
    counted = target != IGNORE
    changed = (before != after) & counted
    right = after == (target == 1)
    area = np.count_nonzero(target == 1)
    share = np.count_nonzero(changed & near) / changed.sum() if changed.any() else np.nan
    far = changed & ~near
    return share, np.count_nonzero(far & right) / area, np.count_nonzero(far & ~right) / area


def table(effects: Sequence[Sequence[ClickEffect]]) -> str:
    """Return the means over objects, click by click, as a Markdown table."""
    rows = [["click", "objects", *(title for _, title, _ in _COLUMNS)]]
    for number in range(max(map(len, effects))):
        reached = [clicks[number] for clicks in effects if len(clicks) > number]
        means = [_mean([getattr(one, name) for one in reached], form) for name, _, form in _COLUMNS]
        rows.append([str(number + 1), str(len(reached)), *means])
    return markdown_table(rows)


def _mean(values: Sequence[float], form: str) -> str:
    """Write the mean of the values that are known, a dash without any."""
    known = [value for value in values if not np.isnan(value)]
    return form.format(np.mean(known)) if known else "-"


def _placed(clicks: Sequence[Click]) -> tuple[np.ndarray, np.ndarray]:
    """Return where clicks are, (N, 2) int64 row, column, and their signs, (N,) bool."""
    positive = np.array([click.positive for click in clicks], dtype=bool)
    return rows_columns(clicks).astype(np.int64), positive


def _obeyed(mask: np.ndarray, clicks: Sequence[Click]) -> tuple[float, float]:
    pixels, positive = _placed(clicks)
    inside = mask[tuple(pixels.T)]
    return (
        float(inside[positive].mean()) if positive.any() else np.nan,
        float((~inside[~positive]).mean()) if not positive.all() else np.nan,
    )


def _neighbourhood(target: np.ndarray, mask: np.ndarray, click: Click) -> np.ndarray:
    """Return the error that was clicked and what lies around it, (H, W) bool."""
    wrong = (mask != (target == 1)) & (target != IGNORE)
    row, column = rows_columns([click]).astype(np.int64)[0]
    _, labels = cv2.connectedComponents(wrong.astype(np.uint8), connectivity=8)
    error = (labels == labels[row, column]) & wrong
    error[row, column] = True
    distance = cv2.distanceTransform((~error).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return distance <= _NEIGHBOURHOOD * np.sqrt(np.count_nonzero(target == 1))
