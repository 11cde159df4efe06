"""Make the weights of a training ready to ship: `python -m training export --checkpoint … …`.

A training keeps its weights in float32, with the network's nominal input size and the paths of the
machine it ran on. What ships is half as large, says the size it was really trained at, and has of
every path only the last name. The authors' files (.pth) become ours here, too, which can be served
and fine-tuned.
"""

import argparse
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from icmformer import ICMFormer, load_checkpoint, save_checkpoint
from icmformer.errors import CheckpointError, ConfigError
from icmformer.plain_vit import grid_size, resize_position_embedding
from icmformer.specialised import Specialised
from training.datasets.benchmarks import FOLDER_PREFIX
from training.home_paths import given_path
from training.weights_file import is_of_the_authors, read_provenance, trained_size
from training.whole_numbers import positive

logger = logging.getLogger(__name__)

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_POSITIONS = "backbone.position_embedding"
# Tells in which stage the training was, and so the size.
_SAMPLES = "samples"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "--checkpoint",
        type=given_path,
        required=True,
        metavar="FILE",
        help="RUN/latest.safetensors, or .pth of the authors'",
    )
    parser.add_argument(
        "--output", type=given_path, required=True, metavar="FILE", help="ends in .safetensors"
    )
    parser.add_argument(
        "--dtype",
        choices=_DTYPES,
        help="of the stored weights; by default bfloat16, and float32 for the authors'",
    )
    parser.add_argument(
        "--input-size",
        type=positive,
        metavar="N",
        help="pixels a side that the network is to be served at; by default those of the last"
        " stage it was trained in, at which `benchmark` measures it whatever is said here",
    )
    parser.add_argument(
        "--note",
        type=_note,
        action="append",
        default=[],
        metavar="key=value",
        help="add to the description, or replace in it: licence, hardware, recipe, …",
    )


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    path: Path = arguments.output
    path.parent.mkdir(parents=True, exist_ok=True)
    size = export(
        arguments.checkpoint,
        path,
        dtype=_DTYPES.get(arguments.dtype),
        size=arguments.input_size,
        notes=dict(arguments.note),
    )
    megabytes = path.stat().st_size / 1e6
    logger.info("%s: %.1f MB, for %d x %d pixels", path, megabytes, size, size)


def export(
    checkpoint: Path,
    output: Path,
    *,
    dtype: torch.dtype | None = None,
    size: int | None = None,
    notes: Mapping[str, str] | None = None,
) -> int:
    """Write a copy of a checkpoint for others to use; return its input size in pixels a side.

    Args:
        checkpoint: of a training or a fine-tuning, or one of the authors' files (.pth).
        output: path of the new weights; its description lies beside it.
        dtype: of the stored weights; None is bfloat16, and float32 for those of the authors, which
            stay what they are.
        size: pixels a side of the network's input; None is the size that it was trained at.
        notes: added to the description; a key that is there already gets the new value.

    Raises:
        CheckpointError: if the checkpoint cannot be read or the output not be named so, or is the
            checkpoint itself, whose exact weights would be lost.
        ConfigError: if the network cannot work at this size.
    """
    if output.resolve() == checkpoint.resolve():
        raise CheckpointError(f"{output} is the checkpoint itself: name another file as the output")
    provenance = read_provenance(checkpoint)
    network = load_checkpoint(checkpoint)
    dtype = dtype or (torch.float32 if is_of_the_authors(checkpoint) else torch.bfloat16)
    size = size or trained_size(checkpoint) or network.input_size[0]
    kept = {key: value for key, value in provenance.items() if key != "command"}
    if "recipe" in kept:
        kept["recipe"] = _without_folders(kept["recipe"])
    shipped = kept | {"size": size} | dict(notes or {})
    save_checkpoint(_at_size(network, size), output, weights_dtype=dtype, provenance=shipped)
    return size


def _at_size(network: ICMFormer, size: int) -> ICMFormer:
    """Return the same network with another nominal input size, at which it computes the same.

    At other sizes a plain ViT's answers differ a little: its positions are resized twice then. A
    specialised network keeps its size, at which it compares images.
    """
    if network.input_size == (size, size):
        return network
    if isinstance(network, Specialised):
        raise ConfigError(
            f"a network that was fine-tuned keeps its size of {network.input_size[0]} pixels:"
            " leave --input-size out"
        )
    config = replace(network.config, input_size=(size, size))
    resized = ICMFormer(config)
    weights = network.state_dict()
    if _POSITIONS in weights:  # a plain ViT's, stored at the nominal size
        source, target = (
            grid_size(each.input_size, each.patch_size) for each in (network.config, config)
        )
        weights[_POSITIONS] = resize_position_embedding(weights[_POSITIONS], source, target)
    resized.load_state_dict(weights)
    return resized


def _without_folders(value: Any) -> Any:
    """Leave of paths in a recipe the last name: no other machine has the rest, nor need know it.

    They are whatever has a slash, with `folder:` before it or not.
    """
    if isinstance(value, dict):
        return {key: _without_folders(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_folders(each) for each in value]
    if isinstance(value, str) and value.startswith(FOLDER_PREFIX):
        return FOLDER_PREFIX + Path(value.removeprefix(FOLDER_PREFIX)).name
    if isinstance(value, str) and "/" in value:
        return Path(value).name
    return value


def _note(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not (key and separator):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form key=value")
    if key == _SAMPLES:
        raise argparse.ArgumentTypeError(
            f"{key} is no note but a fact of the weights: drop {text!r}"
        )
    return key, value
