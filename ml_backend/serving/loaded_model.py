"""How a version becomes a network that answers."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from icmformer import ICMFormer, Predictor, build_model
from icmformer.checkpoint import load_checkpoint
from icmformer.devices import usable_device, why_unusable
from icmformer.errors import ConfigError
from icmformer.precision import has_native_bf16, keep_matrices_in_bf16
from ml_backend.errors import SettingsError
from ml_backend.serving.device_trouble import despite_trouble
from ml_backend.serving.versions import Version

# What is there with a driver of NVIDIA's for Linux, and with one for Windows in WSL 2.
NVIDIA_DRIVERS = (Path("/proc/driver/nvidia/version"), Path("/usr/lib/wsl/lib/libcuda.so.1"))
STARTER_SIZE = "starter"
# Random weights, but the same ones in every process: replayed clicks give the same mask.
UNTRAINED_SEED = 0
# Of two that move at once, one could take the room that was made for the other.
_moving = threading.Lock()


@dataclass(frozen=True)
class LoadedModel:
    """A network in memory; many threads may use its predictors.

    Attributes:
        version: what it is.
        at_home: answers on images of the project whose masks it learned.
        elsewhere: answers on all other images.
        nbytes: of its weights.
    """

    version: Version
    at_home: Predictor
    elsewhere: Predictor
    nbytes: int

    def predictor(self, project: str) -> Predictor:
        """Return what answers on images of a project, given by its key."""
        return self.at_home if project == self.version.project else self.elsewhere


def load_version(version: Version, device: str, make_room: Callable[[], None]) -> LoadedModel:
    """Read a version from disk; several at once, but only one at a time moves to the device.

    Args:
        version: what to load.
        device: where to compute: "cpu", "cuda", "cuda:1".
        make_room: as `relieve` of `ml_backend.serving.device_trouble.despite_trouble`.

    Raises:
        CheckpointError: if the file is missing, damaged or not understood.
        DeviceMemoryError: if it does not fit into the GPU's memory.
        DeviceError: if the GPU failed; the process is then asked to stop.
    """
    model = _untrained() if version.weights is None else load_checkpoint(version.weights)
    with _moving:
        despite_trouble(lambda: _move(model, device), make_room)
    nbytes = sum(parameter.nbytes for parameter in model.parameters())
    return LoadedModel(version, Predictor(model, at_home=True), Predictor(model), nbytes)


def _move(model: ICMFormer, device: str) -> None:
    if has_native_bf16(torch.device(device)):
        keep_matrices_in_bf16(model)  # before they take twice the room on a GPU
    model.to(device)


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
    has_driver = any(path.exists() for path in NVIDIA_DRIVERS)
    falls_back = wanted == "auto" and device == "cpu" and has_driver
    return device, why_unusable("cuda") if falls_back else None


def _untrained() -> ICMFormer:
    """Build the network that ships with the project, with weights that were never trained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(UNTRAINED_SEED)
        return build_model(STARTER_SIZE)
