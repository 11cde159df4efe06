"""What a GPU does at any moment: it has too little memory, or it fails for good.

Whoever shares the GPU, or the machine, may leave too little memory: then everything that is held
only to save time is given back, and the work tried once more. A GPU that fails in any other way
answers nothing more to this process, which ends; gunicorn begins another.
"""

import logging
import os
import signal
from collections.abc import Callable
from typing import TypeVar

import torch

from icmformer.devices import is_out_of_host_memory, is_out_of_memory
from ml_backend.errors import DeviceError, DeviceMemoryError

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


def despite_trouble(work: Callable[[], Result], relieve: Callable[[], None]) -> Result:
    """Run work that needs the device, once more if its or the machine's memory does not suffice.

    Args:
        work: to run; whatever else it raises is raised.
        relieve: gives back what memory of either can be spared.

    Raises:
        DeviceMemoryError: if it does not fit into the GPU's memory.
        DeviceError: if the GPU failed; the process is then asked to stop.
    """
    try:
        return work()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_host_memory(error):
            _only_memory(error)
        logger.warning("out of memory: giving back what can be spared, and trying once more")
    # Not inside the handler: while the error lives, so do the tensors of what failed.
    try:
        relieve()
        torch.cuda.empty_cache()
        return work()
    except RuntimeError as error:
        _only_memory(error)
        raise DeviceMemoryError(
            "the GPU has too little memory: keep other programs off it, or lower "
            "ICMFORMER_MODEL_MEMORY_MB or ICMFORMER_CLICK_MEMORY_MB"
        ) from error


def _only_memory(error: Exception) -> None:
    """Return if the error says that the GPU's memory does not suffice, else raise what it is."""
    if is_out_of_memory(error):
        return
    if isinstance(error, torch.AcceleratorError):
        reason = str(error).partition("\n")[0]
        raise end_process(f"the GPU failed ({reason})") from error
    raise error


def end_process(reason: str) -> DeviceError:
    """Ask this process to stop, so that gunicorn begins another, and return what says so."""
    os.kill(os.getpid(), signal.SIGTERM)
    return DeviceError(f"{reason}, so this process begins anew: click again in a moment")
