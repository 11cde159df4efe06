"""The endless stream of training samples: sample n is a function of the recipe, the seed and n.

Nothing here has state, so a run that resumes, or spreads over workers, processes and machines,
sees the same samples in the same order.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import BaseModel, Field
from torch.utils.data import Dataset

from training.clicks.initial_clicks import ClickSampling, sample_clicks
from training.datasets.object_sampling import (
    ObjectIds,
    choose_objects,
    make_target,
    settle_stuff,
    with_area,
)
from training.datasets.sample import AnnotatedImage
from training.errors import DatasetError, TrainingError
from training.loop.augmentation import Augmentation, ObjectCrop
from training.loop.copy_paste import CopyPaste
from training.loop.mixture import Mixture, Part
from training.recipe_files import STRICT

_ATTEMPTS_PER_IMAGE = 20
_IMAGES_PER_SAMPLE = 1000


class Sampling(BaseModel):
    """From an annotated image to a training sample; the defaults are the authors' for SBD.

    Attributes:
        augmentation: the random view.
        copy_paste: objects of other images in this one.
        clicks: the clicks a sample starts from.
        min_object_area: objects that cover less of the view are not asked for, in pixels.
        keep_empty: probability of keeping a view without any object.
    """

    model_config = STRICT

    augmentation: Augmentation
    copy_paste: CopyPaste = CopyPaste()
    clicks: ClickSampling = ClickSampling()
    min_object_area: int = Field(default=80, ge=1)
    keep_empty: float = Field(default=0.01, ge=0, le=1)


@dataclass(frozen=True)
class Batch:
    """Samples side by side.

    Attributes:
        indices: (B,) their numbers in the stream.
        images: (B, 3, H, W) uint8 RGB.
        labels: (B, 1, H, W) int8; 1 object, 0 not, -1 ignored.
        slots: (B, 2, P, 2) int16 clicks; see `training.clicks.initial_clicks.sample_clicks`.
    """

    indices: torch.Tensor
    images: torch.Tensor
    labels: torch.Tensor
    slots: torch.Tensor

    def pin_memory(self) -> "Batch":
        """Return the same in page-locked memory; called by the data loader."""
        return Batch(self.indices, self.images.pin_memory(), self.labels.pin_memory(), self.slots)


Sample = tuple[int, np.ndarray, np.ndarray, np.ndarray]


class SampleStream(Dataset[Sample]):
    """Sample number → image, labels and clicks.

    Args:
        mixture: where images come from.
        sampling: what is made of them.
        seed: of all draws.
    """

    def __init__(self, mixture: Mixture, sampling: Sampling, seed: int) -> None:
        self._mixture = mixture
        self._sampling = sampling
        self._seed = seed

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """Return sample `key[0]` at a crop of `key[1]` pixels a side.

        Returns:
            its number, image (S, S, 3) uint8, labels (S, S) int8, clicks (2, P, 2) int16.

        Raises:
            DatasetError: if image after image shows nothing that may be asked for, or one of them
                is damaged or too long to be augmented.
            StoredFileError: if a file of what annotators accepted is missing or damaged.
            FileStoreError: if their store cannot be reached.
        """
        index, size = key
        rng = np.random.default_rng((self._seed, index))
        annotated, part = self._mixture.draw(index, rng)
        for _ in range(_IMAGES_PER_SAMPLE):
            annotated = settle_stuff(annotated, part.objects, rng)
            annotated = self._with_another_object(annotated, part, rng)
            for _ in range(_ATTEMPTS_PER_IMAGE):
                found = self._attempt(annotated, part, size, rng)
                if found is not None:
                    return index, *found
            annotated = self._mixture.redraw(part, rng)
        raise DatasetError(
            f"no view of {_IMAGES_PER_SAMPLE} images, the last of which is {annotated.name!r}, "
            f"shows an object of {self._sampling.min_object_area} pixels: train on larger "
            "objects, or lower sampling.min_object_area"
        )

    def __getitems__(self, keys: list[tuple[int, int]]) -> list[Sample] | TrainingError:
        """Return the samples of a batch, or what is wrong with one.

        Raised in a process of the data loader, it would arrive with that process's traceback.
        """
        try:
            return [self[key] for key in keys]
        except TrainingError as error:
            return error

    def _with_another_object(
        self, annotated: AnnotatedImage, part: Part, rng: np.random.Generator
    ) -> AnnotatedImage:
        copy_paste = self._sampling.copy_paste
        # Nothing is drawn where nothing is pasted: recipes without it see the samples they saw.
        if not copy_paste.probability or rng.random() >= copy_paste.probability:
            return annotated
        is_own = rng.random() < copy_paste.itself
        donor = annotated if is_own else self._mixture.redraw(part, rng)
        return copy_paste(annotated, donor, rng)

    def _attempt(
        self, annotated: AnnotatedImage, part: Part, size: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Return image, labels and clicks of one random view, or None if it shows no object."""
        options = self._sampling
        planes = (annotated.image, annotated.layers)
        focus: ObjectIds = ()
        # A view around an object needs the object first; a view anywhere shows what there is.
        if isinstance(options.augmentation, ObjectCrop):
            focus = choose_objects(annotated.layers, annotated.objects, part.objects, rng)
        try:
            image, layers = options.augmentation(planes, focus, size, rng)
        except DatasetError as error:
            raise DatasetError(f"image {annotated.name!r} {error}") from error
        visible = with_area(layers, focus or annotated.objects, options.min_object_area)
        # As RITM has it, a view anywhere that shows small objects alone is trained as an empty one.
        shows_something = visible if focus else with_area(layers, annotated.objects, 1)
        if not shows_something and rng.random() >= options.keep_empty:
            return None
        chosen = visible if focus else choose_objects(layers, visible, part.objects, rng)
        # Negative clicks go to other objects; of those that are not in view there is no pixel.
        others = with_area(layers, annotated.objects, 1) if focus else visible
        target = make_target(layers, chosen, others)
        return image, target.labels(), sample_clicks(target, options.clicks, rng)


def collate(samples: list[Sample] | TrainingError) -> Batch | TrainingError:
    """Put samples side by side; what is wrong with one is passed on."""
    if isinstance(samples, TrainingError):
        return samples
    indices, images, labels, slots = zip(*samples, strict=True)
    return Batch(
        indices=torch.tensor(indices),
        # Channels stay last in memory, where convolutions and Swin want them.
        images=torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2),
        labels=torch.from_numpy(np.stack(labels)).unsqueeze(1),
        slots=torch.from_numpy(np.stack(slots)),
    )


def sound(batches: Iterable[Batch | TrainingError]) -> Iterator[Batch]:
    """Go through what `collate` made.

    Raises:
        TrainingError: what was wrong with a sample: its data set, or a stored file.
    """
    for batch in batches:
        if isinstance(batch, TrainingError):
            raise batch
        yield batch


@dataclass(frozen=True)
class BatchPlan:
    """Which samples form the batches, at which size; iterated by the data loader.

    Attributes:
        stages: (last sample + 1, crop in pixels, samples a batch), in order.
        start: first sample; the end of an earlier batch.
        rank, processes: this process takes its share of each batch.
        accumulate: each share is cut into this many pieces.
    """

    stages: tuple[tuple[int, int, int], ...]
    start: int
    rank: int = 0
    processes: int = 1
    accumulate: int = 1

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        first = self.start
        for end, size, batch in self.stages:
            piece = batch // (self.processes * self.accumulate)
            while first < end:
                for part in range(self.accumulate):
                    offset = first + (part * self.processes + self.rank) * piece
                    yield [(index, size) for index in range(offset, offset + piece)]
                first += batch
