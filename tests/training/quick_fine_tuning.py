"""Fine-tuning runs of a few steps, on discs."""

import numpy as np
import torch

from icmformer import load_checkpoint
from training.datasets.each_object import EachObject
from training.datasets.sample import AnnotatedImage, layered
from training.fine_tuning.fine_tune import FineTuneData, fine_tune
from training.fine_tuning.fine_tune_recipe import load_fine_tune_recipe


class Discs:
    """Bright discs on a dark noisy ground: easy to learn, quick to draw."""

    def __init__(self, count, first=0):
        self._count = count
        self._first = first

    def __len__(self):
        return self._count

    def __getitem__(self, index):
        rng = np.random.default_rng(self._first + index)
        image = rng.integers(0, 90, (64, 80, 3), dtype=np.uint8)
        rows, columns = np.mgrid[:64, :80]
        masks = []
        for column in (22, 58):
            row, radius = rng.integers(20, 44), rng.integers(9, 16)
            mask = (rows - row) ** 2 + (columns - column) ** 2 < radius**2
            image[mask] += 120
            masks.append(mask)
        layers, objects = layered(masks)
        return AnnotatedImage(f"{self._first + index}", image, layers, objects)


def learned(accepted, replay=None, validation=None):
    return FineTuneData(accepted, accepted, replay, validation)


DATA = learned(Discs(6), Discs(3, first=50), EachObject(Discs(3, first=100)))
QUICK = (
    "batch_size=4", "steps=6", "validate_every=2", "validation_clicks=2", "size=32",
    "optimization.warmup_epochs=0", "device=cpu",
)  # fmt: skip


def recipe(*overrides):
    return load_fine_tune_recipe(overrides=(*QUICK, *overrides))


def quiet(stage, done, total):
    """Nobody watches."""


def run(base, folder, *overrides, data=DATA, report=quiet, first=None):
    folder.mkdir(exist_ok=True)
    return fine_tune(base, first or base, data, recipe(*overrides), folder, report, parent=3)


def weights(path):
    return load_checkpoint(path).state_dict()


def changed(base, candidate):
    before, after = weights(base), weights(candidate)
    return {name for name in before if not torch.equal(before[name], after[name])}
