"""One training in one or several processes: devices, requests to stop, attention on a CPU."""

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import Literal

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs
from torch.nn.attention import SDPBackend, sdpa_kernel

from icmformer.devices import why_unusable
from training.errors import RecipeError

logger = logging.getLogger(__name__)

# While one process decodes a large data set or validates, the others wait. The default of 10 or 30
# minutes would end them; a launcher ends them by itself when one has died.
_PATIENCE = timedelta(hours=24)


def make_accelerator(wanted: Literal["auto", "cpu", "cuda"]) -> Accelerator:
    """Return what knows the device and the other processes, and say which device it is.

    Args:
        wanted: "auto" is the GPU if torch finds one, "cpu" keeps off one that is there.

    Raises:
        RecipeError: if torch cannot compute on the GPU that it found, or one is wanted and torch
            finds none or accelerate keeps off it. Nobody wants a CPU for the weeks of a GPU.
    """
    finds_gpu = torch.cuda.is_available()
    if wanted == "cuda" and not finds_gpu:
        raise RecipeError("device is cuda, but torch finds no GPU, or its driver is too old")
    # Several processes without a GPU find each other only when told that there is none.
    # The recipe says in which precision to compute, whatever accelerate was configured to.
    accelerator = Accelerator(
        cpu=wanted == "cpu" or not finds_gpu,
        mixed_precision="no",
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)],
    )
    if wanted == "cuda" and accelerator.device.type != "cuda":
        raise RecipeError(
            f"device is cuda, but accelerate is configured for {accelerator.device}, as by "
            "`accelerate launch --cpu`, `accelerate config` or ACCELERATE_USE_CPU"
        )
    reason = why_unusable(accelerator.device)
    if reason:
        raise RecipeError(
            f"torch cannot train on {accelerator.device}: {reason}; its driver or the GPU itself "
            "may be too old for this torch, and device=cpu trains without it"
        )
    if accelerator.is_main_process:
        # Whoever has a GPU that torch does not find sees it here, not by the hours that it takes.
        count = accelerator.num_processes
        logger.info("training on %s, process 1 of %d", accelerator.device, count)
    return accelerator


def is_launched(accelerator: Accelerator) -> bool:
    """Say whether a launcher started this process, and will look at how it ends."""
    return accelerator.num_processes > 1 or torch.distributed.is_torchelastic_launched()


@contextmanager
def explained_deaths() -> Iterator[None]:
    """Say in a sentence that a process which prepares samples has died.

    Torch notices that at any moment, unless it just waits for what the process was handing over.

    Raises:
        RecipeError: if one has died.
    """
    try:
        yield
    except (ConnectionResetError, ConnectionRefusedError, EOFError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not str(error).startswith("DataLoader worker"):
            raise
        raise RecipeError(
            "a process that prepares samples was killed, as happens where memory runs short: start "
            "the training again, which goes on from its last state, with fewer data.workers"
        ) from error


def same_in_all(accelerator: Accelerator, *numbers: int) -> bool:
    """Return whether all processes have the same numbers; all of them must ask together."""
    if accelerator.num_processes == 1:
        return True
    gathered = accelerator.gather(torch.tensor([numbers], device=accelerator.device))
    return bool((gathered == gathered[0]).all())


class StopRequested(Exception):
    """Raised where something long ends early, because the process was asked to stop.

    Attributes:
        status: the exit status of such a process, as a shell has it after the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.strsignal(number))
        self.status = 128 + number


class StopSignals:
    """Remembers requests to stop, so that the step in progress ends and is saved."""

    def __init__(self) -> None:
        self._received: int | None = None
        self._before = {
            number: signal.signal(number, self._remember)
            for number in (signal.SIGTERM, signal.SIGINT)
        }

    def agreed(self, accelerator: Accelerator) -> bool:
        """Say whether any process was asked to stop; all of them must ask together."""
        if accelerator.num_processes == 1:
            return self._received is not None
        flag = torch.tensor(int(self._received is not None), device=accelerator.device)
        return bool(accelerator.reduce(flag, "sum").item())

    def interrupt(self) -> None:
        """Raise StopRequested if this process was asked to stop."""
        if self._received is not None:
            raise StopRequested(self._received)

    def forget(self) -> None:
        """Leave signals to whoever had them before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self._received = number


@contextmanager
def fast_attention(device: torch.device) -> Iterator[None]:
    """On a CPU, compute attention with plain matrix products.

    With the few hundred tokens a cross-modality block sees, they take 11 to 30 % off forward and
    backward in bf16 (docs/benchmark.md): the backward pass of the CPU's fused kernel is slow.
    """
    if device.type != "cpu":
        yield
        return
    before = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(before)
