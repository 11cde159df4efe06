"""The checkpoint that the demo is told to serve, looked at before anything starts.

The backend says only in its log and on its page what is wrong with one, and serves what was live
before. Nothing here imports torch: whether the network can be built is left to the backend.
"""

import json
from pathlib import Path

from ml_backend.errors import LocalServerError
from ml_backend.serving.versions import conversion
from training.hashes import file_sha256


def require_whole(weights: Path) -> None:
    """See to it that a checkpoint is there, with its description, as it was saved.

    Raises:
        LocalServerError: naming the file and what is wrong with it.
    """
    description = weights.with_suffix(".json")
    if not weights.is_file():
        raise LocalServerError(f"There is no checkpoint {weights}.")
    if weights.suffix != ".safetensors":
        raise LocalServerError(f"{weights} is no .safetensors file: {conversion(weights)}")
    if not description.is_file():
        raise LocalServerError(
            f"The description of {weights} is missing: put {description.name}, which was saved "
            "with it, into the same folder."
        )
    try:
        recorded = json.loads(description.read_bytes())["weights_sha256"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise LocalServerError(
            f"{description} is no description of a checkpoint: copy it anew, with {weights.name}."
        ) from error
    if file_sha256(weights) != recorded:
        raise LocalServerError(
            f"{weights} is truncated or altered, or {description.name} belongs to other weights: "
            "copy both anew."
        )
