"""In which floating-point format the network computes."""

from typing import Literal

import torch
from torch import nn

Precision = Literal["fp32", "bf16", "auto"]


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Return the context in which to run the network, also within another autocast.

    Args:
        precision: "fp32"; "bf16" (weights stay fp32, matrix products are bf16); or "auto", which
            is bf16 where the device computes it natively and fp32 elsewhere, where emulated bf16
            would be slower than fp32.
        device: on which the network lies.
    """
    in_bf16 = computes_in_bf16(precision, device)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=in_bf16)


def computes_in_bf16(precision: Precision, device: torch.device) -> bool:
    """Say whether `autocast` makes matrix products bf16."""
    return precision == "bf16" or (precision == "auto" and has_native_bf16(device))


def has_native_bf16(device: torch.device) -> bool:
    """Say whether the device multiplies bf16 matrices in hardware."""
    if device.type == "cuda":
        # Not `is_bf16_supported`, which is asked of the current GPU instead of this one.
        return torch.cuda.get_device_properties(device).major >= 8
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def keep_matrices_in_bf16(model: nn.Module) -> None:
    """Convert, in place and for good, the weights that bf16 autocast converts at every pass.

    The results under autocast are the same, bit for bit; a pass no longer reads all weights twice,
    and they take half the memory. For a network that only answers clicks from now on.
    """
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            module.to(torch.bfloat16)
