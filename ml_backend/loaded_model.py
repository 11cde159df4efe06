"""How a version becomes a network that answers."""

from dataclasses import dataclass

import torch

from icmformer import ICMFormer, Predictor, build_model
from icmformer.checkpoint import load_checkpoint
from icmformer.precision import has_native_bf16, keep_matrices_in_bf16
from ml_backend.errors import SettingsError
from ml_backend.versions import Version

STARTER_SIZE = "starter"
# Random weights, but the same ones in every process: replayed clicks give the same mask.
UNTRAINED_SEED = 0


@dataclass(frozen=True)
class LoadedModel:
    """A network in memory: `predictor` may be used by many threads, `nbytes` are its weights."""

    version: Version
    predictor: Predictor
    nbytes: int


def load_version(version: Version, device: str) -> LoadedModel:
    """Read a version from disk.

    Args:
        version: what to load.
        device: where to compute: "cpu", "cuda", "cuda:1".

    Raises:
        CheckpointError: if the file is missing, damaged or not understood.
    """
    if version.weights is None:
        model = _untrained().to(device)
    else:
        model = load_checkpoint(version.weights, device)
    if has_native_bf16(torch.device(device)):
        keep_matrices_in_bf16(model)
    nbytes = sum(parameter.nbytes for parameter in model.parameters())
    return LoadedModel(version, Predictor.for_serving(model), nbytes)


def choose_device(wanted: str) -> str:
    """Return the device to compute on: "auto" is CUDA where there is one.

    Raises:
        SettingsError: if the machine does not have it.
    """
    count = torch.cuda.device_count()
    if wanted == "auto":
        return "cuda" if count else "cpu"
    if wanted != "cpu" and int(wanted.partition(":")[2] or 0) >= count:
        raise SettingsError(f"ICMFORMER_DEVICE is {wanted}, but torch sees {count} CUDA devices")
    return wanted


def _untrained() -> ICMFormer:
    """Build the network that ships with the project, with weights that were never trained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(UNTRAINED_SEED)
        return build_model(STARTER_SIZE)
