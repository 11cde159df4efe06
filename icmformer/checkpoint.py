"""A model on disk: the weights, X.safetensors, and beside them their description, X.json.

The description holds what the weights alone do not say: the configuration, the normalisation, the
hash of the weights, and where they come from. Loading runs no code from the files and refuses
whatever it does not understand.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from icmformer.assembly import assemble, not_finite
from icmformer.config import ModelConfig
from icmformer.devices import usable_device
from icmformer.errors import CheckpointError, ConfigError
from icmformer.model import IMAGE_MEAN, IMAGE_STD, ICMFormer
from icmformer.upstream_checkpoint import load as load_upstream

FORMAT = "icmformer-1"
# the weights that ship with this package
STARTER = Path(__file__).with_name("weights") / "starter.safetensors"
_NORMALIZATION = {"mean": list(IMAGE_MEAN), "std": list(IMAGE_STD)}
_STORABLE = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_KEYS = {"format", "config", "normalization", "weights_sha256", "provenance"}


def save_checkpoint(
    model: ICMFormer,
    path: str | os.PathLike[str],
    *,
    weights_dtype: torch.dtype = torch.float32,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write weights and description; a reader never sees half a file.

    Args:
        model: on any device.
        path: of the weights; ends in .safetensors.
        weights_dtype: how the weights are stored; half precision halves the file, and what is
            loaded from it is float32 again.
        provenance: where the weights come from: recipe, data, parent; anything JSON can hold.

    Raises:
        CheckpointError: if the model is another module, as `torch.compile` wraps one, the path does
            not end in .safetensors, its folder does not exist, a file cannot be written, JSON
            cannot hold the provenance, or this type the weights.
    """
    weights_path, description_path = _paths(path)
    if not isinstance(model, ICMFormer):  # the weights have other names in what torch.compile gives
        kind = type(model).__name__
        raise CheckpointError(f"{weights_path}: {kind} is no ICMFormer; save the network itself")
    if not weights_path.parent.is_dir():
        raise CheckpointError(f"{weights_path}: there is no folder {weights_path.parent}")
    problem = not_finite(model.state_dict())
    if problem:
        raise CheckpointError(f"{problem}, as after a training that diverged")
    weights = {
        name: _stored(name, tensor.detach(), weights_dtype)
        for name, tensor in model.state_dict().items()
    }
    content = safetensors.torch.save(weights, metadata={"format": "pt"})
    description = {
        "format": FORMAT,
        "config": model.config.to_dict(),
        "normalization": _NORMALIZATION,
        "weights_sha256": hashlib.sha256(content).hexdigest(),
        "provenance": dict(provenance or {}),
    }
    try:  # before anything is written
        description_text = json.dumps(description, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"{weights_path}: its provenance cannot be written as JSON: {error}"
        ) from error
    _write({weights_path: content, description_path: description_text.encode()})


def _stored(name: str, tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    if dtype not in _STORABLE:
        raise CheckpointError(
            f"weights cannot be stored as {dtype}: use one of {', '.join(map(str, _STORABLE))}"
        )
    stored = tensor.to("cpu", dtype).contiguous()
    if not stored.isfinite().all():
        raise CheckpointError(f"{name} holds numbers too large for {dtype}: store float32")
    return stored


def load_checkpoint(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> ICMFormer:
    """Return the model a checkpoint describes, with float32 weights, in evaluation mode.

    Args:
        path: of the weights, as in `save_checkpoint`, or a file of the authors' release (.pth).
        device: where to compute; "auto" is CUDA where torch can use it.

    Raises:
        CheckpointError: naming the file and what is wrong: missing, truncated, altered, from a
            newer format, an unknown setting, a tensor too many, too few, of another shape or not
            finite.
        ConfigError: if torch cannot compute on the device.
    """
    place = usable_device(device)
    if Path(path).suffix == ".pth":
        return load_upstream(path).to(place)
    description = read_description(path)
    weights_path, description_path = _paths(path)
    try:
        config = ModelConfig.from_dict(description["config"])
    except ConfigError as error:
        raise CheckpointError(f"{description_path}: {error}") from error
    content = _read(weights_path)
    require_unaltered(weights_path, hashlib.sha256(content).hexdigest(), description)
    try:
        weights = safetensors.torch.load(content)
    except SafetensorError as error:
        raise CheckpointError(f"{weights_path}: not a safetensors file: {error}") from error
    return assemble(config, weights, weights_path).to(place)


def require_unaltered(
    path: str | os.PathLike[str], sha256: str, description: dict[str, Any]
) -> None:
    """See to it that weights are those that their description was written for.

    Args:
        path: of the weights, as in `save_checkpoint`.
        sha256: of that file, 64 hexadecimal digits.
        description: see `read_description`.

    Raises:
        CheckpointError: if they are not.
    """
    weights_path, description_path = _paths(path)
    if sha256 != description["weights_sha256"]:
        raise CheckpointError(
            f"{weights_path}: the file is truncated or altered: its SHA-256 is not the one in "
            f"{description_path.name}"
        )


def read_description(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the description of a checkpoint without reading its weights.

    Args:
        path: of the weights, as in `save_checkpoint`.

    Raises:
        CheckpointError: naming the file and what is wrong with it.
    """
    weights_path, description_path = _paths(path)
    # unlike Path.exists, also of names that no file could have
    if not (os.path.exists(description_path) or os.path.exists(weights_path)):
        raise CheckpointError(f"{weights_path}: cannot be read: No such file or directory")
    try:
        description = json.loads(_read(description_path))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{description_path}: not valid JSON: {error}") from error
    problem = _misdescribed(description)
    if problem:
        raise CheckpointError(f"{description_path}: {problem}")
    return description


def _misdescribed(description: Any) -> str | None:
    if not isinstance(description, dict):
        return "not a description of a checkpoint"
    if description.get("format") != FORMAT:
        return f"format {description.get('format')!r} is unknown; this version reads {FORMAT!r}"
    if description.keys() != _KEYS:
        return f"has the keys {sorted(description)} instead of {sorted(_KEYS)}"
    if not isinstance(description["config"], dict):
        return "config is not an object"
    if description["normalization"] != _NORMALIZATION:
        return f"normalization {description['normalization']} is not {_NORMALIZATION}"
    return None


def _paths(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    weights_path = Path(path)
    if weights_path.suffix != ".safetensors":
        raise CheckpointError(f"{path}: the path of a checkpoint ends in .safetensors")
    return weights_path, weights_path.with_suffix(".json")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error


def _write(contents: dict[Path, bytes]) -> None:
    """Write files that belong together: all are complete before the first gets its name."""
    written: dict[Path, Path] = {}
    try:
        for path, content in contents.items():
            # One name, so that the next writer replaces what a killed one left: gigabytes.
            unfinished = path.with_name(f"{path.name}.unfinished")
            with unfinished.open("wb") as file:
                written[path] = unfinished
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for path, unfinished in written.items():
            unfinished.replace(path)
    except (OSError, ValueError) as error:  # the latter of a name that no file can have
        reason = getattr(error, "strerror", error)
        raise CheckpointError(f"{path}: cannot be written: {reason}") from error
    finally:
        for unfinished in written.values():
            unfinished.unlink(missing_ok=True)
