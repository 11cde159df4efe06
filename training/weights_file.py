"""What a file of weights says of itself: ours (.safetensors) or the authors' (.pth)."""

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from icmformer import ModelConfig, load_checkpoint
from icmformer.checkpoint import read_description
from icmformer.errors import CheckpointError
from icmformer.specialised import FAMILIAR
from training.hashes import file_sha256


def is_weights_file(path: Path) -> bool:
    """Return whether a file is named like one of ours or of the authors'."""
    return path.suffix == ".safetensors" or is_of_the_authors(path)


def is_of_the_authors(path: Path) -> bool:
    """Return whether a file is named like one of the authors' release."""
    return path.suffix == ".pth"


def read_config(path: Path) -> ModelConfig:
    """Return the numbers of the network; of our files without reading the weights.

    Raises:
        CheckpointError: if the file is missing, damaged, or no such checkpoint.
        ConfigError: if the numbers in our file do not make a network.
    """
    if is_of_the_authors(path):
        return load_checkpoint(path).config
    return ModelConfig.from_dict(read_description(path)["config"])


def is_specialised(path: Path) -> bool:
    """Return whether a file holds two networks, as `icmformer.specialised` has them.

    It reads the names of the weights alone; the authors' files hold one network each.

    Raises:
        CheckpointError: if the file cannot be read.
    """
    if is_of_the_authors(path):
        return False
    try:
        with safe_open(path, framework="pt") as weights:
            names = weights.keys()
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from error
    return FAMILIAR in names


def read_provenance(path: Path) -> dict[str, Any]:
    """Return what is known of where the weights come from; of the authors' files, their name.

    Raises:
        CheckpointError: if the description of our file is missing or damaged.
    """
    if is_of_the_authors(path):
        return {"converted_from": path.name}
    return dict(read_description(path)["provenance"])


def trained_size(path: Path) -> int | None:
    """Return the size of the stage that a training had reached, in pixels a side.

    Returns:
        None for weights that no training of ours has written (`training.loop.keeper` does).

    Raises:
        CheckpointError: if the description of our file is missing or damaged.
    """
    described = read_provenance(path)
    recipe = described.get("recipe")
    if not isinstance(recipe, dict) or "stages" not in recipe:
        return None
    lengths = [(stage["epochs"] * recipe["epoch"], stage["size"]) for stage in recipe["stages"]]
    return stage_size(lengths, described["samples"])


def stage_size(stages: Sequence[tuple[int, int]], samples: int) -> int:
    """Return the size of the stage in which so many samples have been seen, in pixels a side.

    Args:
        stages: samples and size of each, at least one.
        samples: after more than all stages have, as when a run was shortened, the last one counts.
    """
    ends = accumulate(length for length, _ in stages)
    reached = (size for end, (_, size) in zip(ends, stages, strict=True) if samples <= end)
    return next(reached, stages[-1][1])


def weights_sha256(path: Path) -> str:
    """Return the SHA-256 of the file, 64 hexadecimal digits.

    Raises:
        CheckpointError: if it cannot be read.
    """
    try:
        return file_sha256(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
