"""Several data sets drawn from as one, image by image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.datasets.object_sampling import ObjectSampling
from training.datasets.sample import AnnotatedImage, TrainingDataset


@dataclass(frozen=True)
class Part:
    """One data set of a mixture.

    Attributes:
        dataset: where images come from.
        weight: its share of the samples, relative to the other parts'.
        objects: how targets are put together from its objects.
        image_weights: (N,) relative probability of each image; None draws them uniformly.
        fingerprint: changes when the images do; "" where nobody asks.
    """

    dataset: TrainingDataset
    weight: float
    objects: ObjectSampling
    image_weights: np.ndarray | None = None
    fingerprint: str = ""


class Mixture:
    """Maps the number of a sample to an image, without any state.

    Args:
        parts: at least one.
        seed: of all draws.
        epoch: with a single unweighted part, every image comes up once in this many samples
            (at most once, when there are more images); None draws with replacement.
    """

    def __init__(self, parts: Sequence[Part], seed: int, epoch: int | None = None) -> None:
        self.parts = tuple(parts)
        self._seed = seed
        self._epoch = epoch
        weights = np.array([part.weight for part in parts], dtype=np.float64)
        self._shares = np.cumsum(weights / weights.sum())
        self._order_of = -1
        self._order: np.ndarray = np.empty(0, dtype=np.int64)
        self._images = [_cumulative(part.image_weights) for part in parts]

    def draw(self, index: int, rng: np.random.Generator) -> tuple[AnnotatedImage, Part]:
        """Return the image of sample `index` and the part it belongs to.

        Args:
            index: of the sample, counted over the whole training.
            rng: the sample's own source of randomness.
        """
        if self._epoch is not None:
            part = self.parts[0]
            return part.dataset[self._in_turn(index, len(part.dataset))], part
        chosen = int(np.searchsorted(self._shares, rng.random(), side="right"))
        chosen = min(chosen, len(self.parts) - 1)
        return self._random_image(chosen, rng), self.parts[chosen]

    def redraw(self, part: Part, rng: np.random.Generator) -> AnnotatedImage:
        """Return another image of the part, for when the first one was of no use."""
        return self._random_image(self.parts.index(part), rng)

    def _random_image(self, part: int, rng: np.random.Generator) -> AnnotatedImage:
        dataset, cumulative = self.parts[part].dataset, self._images[part]
        if cumulative is None:
            return dataset[int(rng.integers(len(dataset)))]
        found = int(np.searchsorted(cumulative, rng.random(), side="right"))
        return dataset[min(found, len(dataset) - 1)]

    def _in_turn(self, index: int, images: int) -> int:
        """Return the image at this place of its epoch's shuffled order."""
        assert self._epoch is not None
        number, place = divmod(index, self._epoch)
        if self._order_of != number:
            self._order = np.random.default_rng((self._seed, number)).permutation(images)
            self._order_of = number
        return int(self._order[place % images])


def _cumulative(weights: np.ndarray | None) -> np.ndarray | None:
    return None if weights is None else np.cumsum(weights / weights.sum())
