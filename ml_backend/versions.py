"""A model version as it lies on disk, and how it becomes a network that answers."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch

import icmformer
from icmformer import ICMFormer, Predictor, build_model
from icmformer.checkpoint import load_checkpoint
from icmformer.precision import has_native_bf16, keep_matrices_in_bf16
from ml_backend.errors import SettingsError

# Ships with the project once it is trained; until then masks come from random weights.
STARTER_WEIGHTS = Path(icmformer.__file__).parent / "weights" / "starter.safetensors"
STARTER_SIZE = "starter"
# Random weights, but the same ones in every process: replayed clicks give the same mask.
UNTRAINED_SEED = 0
UNTRAINED_SENTENCE = (
    "masks come from an UNTRAINED network: it shows that the connection works and knows nothing "
    "about objects; set ICMFORMER_CHECKPOINT to the .safetensors file of a trained one"
)


@dataclass(frozen=True)
class Version:
    """A published network.

    Attributes:
        name: what predictions carry as `model_version`; never given to other weights.
        weights: its checkpoint; None for a network that was never trained.
    """

    name: str
    weights: Path | None

    @property
    def trained(self) -> bool:
        """Whether its masks mean anything."""
        return self.weights is not None


@dataclass(frozen=True)
class LoadedModel:
    """A network in memory: `predictor` may be used by many threads, `nbytes` are its weights."""

    version: Version
    predictor: Predictor
    nbytes: int


def version_of_file(weights: Path) -> Version:
    """Name a checkpoint after its file and the first digits of its content's SHA-256.

    Raises:
        OSError: if it cannot be read.
    """
    digest = hashlib.sha256()
    with weights.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return Version(f"{weights.stem}-{digest.hexdigest()[:8]}", weights)


def default_version(checkpoint: Path | None) -> Version:
    """Return what serves when nobody has published anything.

    Args:
        checkpoint: chosen by the operator; None for the network that ships with the project.

    Raises:
        SettingsError: if the checkpoint cannot be read.
    """
    if checkpoint is None and not STARTER_WEIGHTS.exists():
        return Version("untrained", None)
    try:
        return version_of_file(checkpoint or STARTER_WEIGHTS)
    except OSError as error:
        raise SettingsError(f"ICMFORMER_CHECKPOINT cannot be read: {error}") from error


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
