"""Looks at the network now and then while it trains: clicks on benchmarks, and pictures."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, Field

from icmformer import ICMFormer, Predictor
from training.datasets.benchmarks import open_benchmark
from training.datasets.sample import EvaluationSample
from training.datasets.subset import spread
from training.evaluation.click_by_click import Step, click_through, evaluate
from training.evaluation.example_pictures import overlay
from training.evaluation.noc import ScoreCard
from training.home_paths import ExpandedPath
from training.recipe_files import STRICT

_HEIGHT, _WIDTH = 240, 320  # of the picture of one click


class ValidationOptions(BaseModel):
    """What is looked at.

    Attributes:
        every: epochs between two looks.
        data: folder of the benchmarks.
        sets: names as in `python -m training benchmark`; the first decides what is best.
        objects: most objects of each set, evenly spread over it.
        clicks: most clicks on each object.
        pictures: objects of the first set that are drawn after 1, 2 and 3 clicks.
    """

    model_config = STRICT

    every: int = Field(default=10, ge=1)
    data: ExpandedPath
    sets: tuple[str, ...] = Field(min_length=1)
    objects: int = Field(default=100, ge=1)
    clicks: int = Field(default=20, ge=1)
    pictures: int = Field(default=4, ge=0)

    def measure(self) -> str:
        """Return what the quality of a look depends on, as text; not where the data lies."""
        return self.model_dump_json(exclude={"every", "data", "pictures"})


@dataclass(frozen=True)
class Look:
    """What was seen.

    Attributes:
        cards: a score card for every set.
        pictures: (H, W, 3) uint8 RGB; one row an object, one column a click.
    """

    cards: dict[str, ScoreCard]
    pictures: np.ndarray | None

    def quality(self) -> float:
        """Return what is better when larger: minus the number of clicks on the first set."""
        return -next(iter(self.cards.values())).noc(0.85)


class Validation:
    """Measures networks on fixed objects with the published protocol.

    Args:
        options: which objects.

    Raises:
        DatasetError: if a data set is missing.
    """

    def __init__(self, options: ValidationOptions) -> None:
        self.options = options
        self._sets = {
            name: spread(open_benchmark(name, options.data), options.objects)
            for name in options.sets
        }

    def look(self, network: ICMFormer, size: int, interrupt: Callable[[], None]) -> Look:
        """Click on everything; the network is in evaluation mode afterwards.

        Args:
            network: as it is now.
            size: at which it is being trained, in pixels a side.
            interrupt: called after each object; what it raises ends the look.
        """
        predictor = Predictor.for_benchmark(network, (size, size))
        cards = {
            name: evaluate(
                predictor,
                objects,
                max_clicks=self.options.clicks,
                progress=lambda _: interrupt(),
            )
            for name, objects in self._sets.items()
        }
        first = next(iter(self._sets.values()))
        count = min(self.options.pictures, len(first))
        rows = [
            _row(first[i], click_through(predictor, first[i], max_clicks=3)) for i in range(count)
        ]
        return Look(cards, np.concatenate(rows) if rows else None)


def _row(sample: EvaluationSample, steps: Iterator[Step]) -> np.ndarray:
    """Return the object's masks side by side, (240, 3 · 320, 3) uint8."""
    height, width = sample.target.shape
    scale = min(_HEIGHT / height, _WIDTH / width)
    shown = [step.segmentation for step in steps]
    pictures = [overlay(sample.image, each.mask, each.clicks, scale) for each in shown]
    # An object that needed fewer clicks keeps its last mask.
    pictures += [pictures[-1]] * (3 - len(pictures))
    row = np.zeros((_HEIGHT, 3 * _WIDTH, 3), np.uint8)
    for number, picture in enumerate(pictures):
        left = number * _WIDTH
        row[: picture.shape[0], left : left + picture.shape[1]] = picture
    return row
