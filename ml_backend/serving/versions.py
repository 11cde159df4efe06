"""A version of the model as it lies on disk.

This module and what it imports stay free of torch: the worker and most commands need no network,
and torch takes seconds and half a gigabyte.
"""

from dataclasses import dataclass
from pathlib import Path

from ml_backend.errors import SettingsError
from training.hashes import file_sha256

# `icmformer.STARTER`, without importing torch. Where it is missing, masks come from random weights.
STARTER_WEIGHTS = Path(__file__).parents[2] / "icmformer" / "weights" / "starter.safetensors"
UNTRAINED_NAME = "untrained"
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
        project: key of the project whose masks it learned, if it learned some.
    """

    name: str
    weights: Path | None
    project: str | None = None

    @property
    def trained(self) -> bool:
        """Whether its masks mean anything."""
        return self.weights is not None


def version_of_file(weights: Path) -> Version:
    """Name a checkpoint after its file and the first digits of its content's SHA-256.

    Raises:
        OSError: if it cannot be read.
    """
    return Version(f"{weights.stem}-{file_sha256(weights)[:8]}", weights)


def conversion(checkpoint: Path) -> str:
    """Say how a file of the authors' becomes one that can be served."""
    return (
        "convert a file of the authors' first: python -m training export --checkpoint "
        f"{checkpoint} --output {checkpoint.with_suffix('.safetensors')}"
    )


def default_version(checkpoint: Path | None) -> Version:
    """Return what serves when nobody has published anything.

    Args:
        checkpoint: chosen by the operator; None for the network that ships with the project.

    Raises:
        SettingsError: if the checkpoint cannot be read, or is one of the authors' files.
    """
    if checkpoint is not None and checkpoint.suffix == ".pth":
        raise SettingsError(f"ICMFORMER_CHECKPOINT is {checkpoint}: {conversion(checkpoint)}")
    if checkpoint is None and not STARTER_WEIGHTS.exists():
        return Version(UNTRAINED_NAME, None)
    try:
        return version_of_file(checkpoint or STARTER_WEIGHTS)
    except OSError as error:
        raise SettingsError(f"ICMFORMER_CHECKPOINT cannot be read: {error}") from error
