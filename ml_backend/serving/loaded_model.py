"""How a version becomes a network that answers."""

from dataclasses import dataclass
from pathlib import Path

import torch

from icmformer import ICMFormer, Predictor, build_model
from icmformer.checkpoint import load_checkpoint
from icmformer.devices import usable_device, why_unusable
from icmformer.errors import ConfigError
from icmformer.precision import has_native_bf16, keep_matrices_in_bf16
from ml_backend.errors import SettingsError
from ml_backend.serving.versions import Version

NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
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
    model = _untrained() if version.weights is None else load_checkpoint(version.weights)
    if has_native_bf16(torch.device(device)):
        keep_matrices_in_bf16(model)  # before they take twice the room on a GPU
    model.to(device)
    nbytes = sum(parameter.nbytes for parameter in model.parameters())
    return LoadedModel(version, Predictor(model), nbytes)


def choose_device(wanted: str) -> tuple[str, str | None]:
    """Return the device to compute on: "auto" is CUDA where torch can use it.

    Returns:
        Its name, and for "auto" why a GPU that is there is not used.

    Raises:
        SettingsError: if torch cannot compute on the one that is named.
    """
    try:
        device = usable_device(wanted)
    except ConfigError as error:
        raise SettingsError(f"ICMFORMER_DEVICE is {wanted}: {error}") from error
    falls_back = wanted == "auto" and device == "cpu" and NVIDIA_DRIVER.exists()
    return device, why_unusable("cuda") if falls_back else None


def _untrained() -> ICMFormer:
    """Build the network that ships with the project, with weights that were never trained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(UNTRAINED_SEED)
        return build_model(STARTER_SIZE)
