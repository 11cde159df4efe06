"""Whether torch can compute on a device, and which one is taken where nobody names one."""

import torch
from torch.nn import functional as F

from icmformer.errors import ConfigError

# What cuBLAS and cuDNN say when their own memory does not fit beside that of torch's tensors, and
# some of it also when they are broken.
_NO_MEMORY_OR_BROKEN = (
    "_STATUS_ALLOC_FAILED",
    "_STATUS_NOT_INITIALIZED",
    "DEVICE_ALLOCATION_FAILED",
    "unable to find an engine to execute",
    "Unable to find a valid cuDNN algorithm",
)
_ENOUGH_FOR_A_LIBRARY = 1 << 30  # bytes
_NO_HOST_MEMORY = "DefaultCPUAllocator"  # which torch names only where it gets none


def is_out_of_memory(error: Exception) -> bool:
    """Say whether a device's memory did not suffice."""
    reason = str(error).partition("\n")[0]
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError)
        and any(sign in reason for sign in ("out of memory", *_NO_MEMORY_OR_BROKEN))
    )


def is_out_of_host_memory(error: Exception) -> bool:
    """Say whether the machine's own memory did not suffice, for numpy, Python or torch."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and _NO_HOST_MEMORY in str(error).partition("\n")[0]
    )


def why_unusable(device: torch.device | str) -> str | None:
    """Try the least that a network does on a device.

    That torch counts a GPU is not enough: its driver may be too old for this torch, or this torch
    may have no code for the GPU.

    Returns:
        None if it works, or would but for other programs that fill its memory at the moment; else
        torch's reason in one line.
    """
    try:
        planes = torch.ones(1, 1, 3, 3, device=torch.device(device))
        F.conv2d(planes @ planes, planes).item()
    except (RuntimeError, AssertionError, ImportError, TypeError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        if not is_out_of_memory(error):
            return reason
        is_doubtful = any(sign in reason for sign in _NO_MEMORY_OR_BROKEN)
        if is_doubtful and _has_room(device):
            return reason
    return None


def _has_room(device: torch.device | str) -> bool:
    """Say whether a library's memory would fit; a GPU that cannot even say does not lack it."""
    try:
        return torch.cuda.mem_get_info(device)[0] >= _ENOUGH_FOR_A_LIBRARY
    except RuntimeError:
        return True


def usable_device(wanted: torch.device | str) -> str:
    """Return the device to compute on: "auto" is CUDA where torch can use it, else the CPU.

    Args:
        wanted: such as "auto", "cpu", "cuda" or "cuda:1".

    Raises:
        ConfigError: if torch cannot compute on the one that is named.
    """
    if wanted == "auto":
        return "cpu" if why_unusable("cuda") else "cuda"
    reason = why_unusable(wanted)
    if reason:
        raise ConfigError(
            f"torch cannot compute on {str(wanted)!r} ({reason}): use cpu, or a GPU such as cuda:1"
        )
    return str(wanted)
