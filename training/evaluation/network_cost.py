"""Parameters, FLOPs and seconds of a network, by the paper's counting and by an honest one."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from icmformer import ICMFormer, ModelConfig
from icmformer.model import network_without_weights
from training.evaluation.paper_cost import paper_macs, paper_parameters


@dataclass(frozen=True)
class Cost:
    """Of one network at one input size; FLOPs are of one pass over one image.

    Attributes:
        paper_parameters: by the paper's counting.
        parameters: all of them.
        paper_macs: by the paper's counting; its "FLOPs" are twice these.
        image_flops: counted honestly, of the half that depends on the image alone.
        click_flops: counted honestly, of the other half.
    """

    paper_parameters: int
    parameters: int
    paper_macs: int
    image_flops: int
    click_flops: int


@dataclass(frozen=True)
class Seconds:
    """Of one pass.

    Attributes:
        everything: both halves, for image and mirror image.
        click_half: for image and mirror image.
        click_half_unmirrored: for the image only.
    """

    everything: float
    click_half: float
    click_half_unmirrored: float


def count(config: ModelConfig) -> Cost:
    """Count a network's parameters, and its FLOPs at its input size, without computing anything.

    Raises:
        InputError: if it cannot work at this size.
    """
    size_hw = config.input_size
    model = network_without_weights(config).to("meta").eval()
    with torch.device("meta"):
        inputs = _Inputs(1, size_hw)
    image_flops = _flops(lambda: model.encode_image(inputs.image))
    return Cost(
        paper_parameters(model),
        sum(parameter.numel() for parameter in model.parameters()),
        sum(paper_macs(model.config, size_hw).values()),
        image_flops,
        _flops(lambda: inputs.everything(model)) - image_flops,
    )


def measure(config: ModelConfig, device: str, repeats: int) -> Seconds:
    """Time a network with random weights, on whose values the time does not depend.

    Args:
        config: of the network; says at which input size.
        device: on which to compute.
        repeats: passes of which the fastest counts, after one that does not.

    Raises:
        InputError: if it cannot work at this size.
    """
    model = ICMFormer(config).to(device).eval()
    with torch.device(device):
        inputs, unmirrored = _Inputs(2, config.input_size), _Inputs(1, config.input_size)
    return Seconds(
        _fastest(lambda: inputs.everything(model), device, repeats),
        _fastest(inputs.click(model), device, repeats),
        _fastest(unmirrored.click(model), device, repeats),
    )


class _Inputs:
    """What a network reads, on the default device."""

    def __init__(self, batch: int, size_hw: tuple[int, int]) -> None:
        self.image = torch.zeros(batch, 3, *size_hw)
        self.click_maps = torch.zeros(batch, 2, *size_hw)
        self.previous_mask = torch.zeros(batch, 1, *size_hw)

    def everything(self, model: ICMFormer) -> torch.Tensor:
        """Run both halves."""
        return model(self.image, self.click_maps, self.previous_mask)

    @torch.inference_mode()
    def click(self, model: ICMFormer) -> Callable[[], torch.Tensor]:
        """Return what runs the click half, after having run the image half."""
        features = model.encode_image(self.image)
        return lambda: model.fuse(features, self.click_maps, self.previous_mask)


def _flops(compute: Callable[[], object]) -> int:
    # Fused attention has no FLOP formula on the meta device; its plain form has.
    with (
        torch.inference_mode(),
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        compute()
    return counter.get_total_flops()


@torch.inference_mode()
def _fastest(compute: Callable[[], object], device: str, repeats: int) -> float:
    seconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        compute()
        if torch.device(device).type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - started)
    # The first pass allocates memory and, on a GPU, chooses kernels.
    return min(seconds[1:])
