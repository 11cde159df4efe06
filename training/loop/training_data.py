"""Opens the data sets that a recipe names."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from training.datasets.accepted import AcceptedImages, accepted_store
from training.datasets.coco_lvis import CocoLvis
from training.datasets.decoded_cache import decoded
from training.datasets.fingerprint import files_fingerprint, require_outside
from training.datasets.image_folder import ImageFolder
from training.datasets.image_scores import read_image_weights
from training.datasets.large_images import Shrunk
from training.datasets.layered_folder import LayeredFolder
from training.datasets.sample import TrainingDataset
from training.datasets.sbd import SBDImages
from training.errors import DatasetError
from training.loop.mixture import Mixture, Part
from training.loop.recipe import DataPart, Recipe

_FOLDERS: dict[str, Callable[[Path], TrainingDataset]] = {
    "image_folder": ImageFolder,
    "sbd": SBDImages,
    "coco_lvis": CocoLvis,
    "layered_folder": LayeredFolder,
}


def open_mixture(recipe: Recipe) -> Mixture:
    """Return everything the recipe trains on.

    Raises:
        DatasetError: if a data set is missing, half-unpacked, malformed, without any image
            or object, or if the cache or the run would be written into it.
        DatabaseError: if the database of a sample store cannot be read.
    """
    parts = [_open(recipe, part) for part in recipe.data.parts]
    in_turn = not recipe.replacement and parts[0].image_weights is None
    return Mixture(parts, recipe.seed, recipe.epoch if in_turn else None)


def require_present(recipe: Recipe) -> None:
    """Look, in no time, whether data sets and scores are where the recipe has them.

    Raises:
        DatasetError: if one is not, with what is expected there.
    """
    for part in recipe.data.parts:
        path = recipe.data.root / part.path
        if not path.exists():
            _dataset(path, part)
        scores = part.scores and recipe.data.root / part.scores
        if scores and not scores.exists():
            read_image_weights(scores, 0)


def contents(mixture: Mixture) -> list[tuple[str, int]]:
    """Return what the samples of a run follow from: each part's fingerprint and length."""
    return [(part.fingerprint, len(part.dataset)) for part in mixture.parts]


def _open(recipe: Recipe, part: DataPart) -> Part:
    data = recipe.data
    path = data.root / part.path
    dataset = _dataset(path, part)
    if not len(dataset):
        raise DatasetError(f"{path} lists no image to train on: unpack it again, or leave it out")
    weights: np.ndarray | None = None
    if part.scores is not None:
        weights = read_image_weights(data.root / part.scores, len(dataset))
    fingerprint = _fingerprint(dataset, path, recipe)
    if data.cache is not None:
        folder = data.cache / part.cache_name
        dataset = decoded(dataset, folder, f"{path.resolve()} {fingerprint}", Shrunk(data.max_side))
    if not _shows_an_object(dataset, part):
        shrunk = "" if data.max_side is None else f" at max_side {data.max_side}"
        raise DatasetError(
            f"{path} holds no object to train on{shrunk}: outline some in its masks, or leave it"
            " out"
        )
    return Part(dataset, part.weight, part.objects, weights, fingerprint)


def _shows_an_object(dataset: TrainingDataset, part: DataPart) -> bool:
    """Look at images until one shows what may be asked for: mostly the first."""
    images = (dataset[index] for index in range(len(dataset)))
    with_stuff = part.objects.stuff_probability > 0
    return any(image.objects or (with_stuff and image.stuff) for image in images)


def _dataset(path: Path, part: DataPart) -> TrainingDataset:
    if part.kind == "accepted":
        return accepted_store(path, part.project)
    return _FOLDERS[part.kind](path)


def _fingerprint(dataset: TrainingDataset, path: Path, recipe: Recipe) -> str:
    """Return what changes when the images do, and not by what the training writes."""
    if isinstance(dataset, AcceptedImages):
        return dataset.fingerprint
    require_outside("run", recipe.run, path)
    if recipe.data.cache is not None:
        require_outside("data.cache", recipe.data.cache, path)
    return dataset.fingerprint if isinstance(dataset, LayeredFolder) else files_fingerprint(path)
