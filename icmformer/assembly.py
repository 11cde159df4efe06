"""Configuration and weights become a network; what does not fit is said."""

import os
from collections.abc import Callable, Mapping
from functools import partial

import torch

from icmformer.config import ModelConfig
from icmformer.errors import CheckpointError
from icmformer.model import ICMFormer, network_without_weights
from icmformer.specialised import FAMILIAR, UNFAMILIAR, Specialised


def assemble(
    config: ModelConfig, weights: Mapping[str, torch.Tensor], source: str | os.PathLike[str]
) -> ICMFormer:
    """Return the network with exactly these weights, as float32, in evaluation mode.

    Weights with examples of familiar images are those of a specialised one.

    Args:
        config: of the network.
        weights: a tensor for every parameter.
        source: what to call the origin of the weights when they do not fit.

    Raises:
        CheckpointError: if a tensor is missing, superfluous, of another shape or kind, or holds
            what is no finite number in float32, or no memory could hold such a network.
    """
    try:
        model = network_without_weights(config, _kind(weights))
    except (RuntimeError, TypeError) as error:
        raise CheckpointError(f"{source}: a network of these sizes cannot be built") from error
    problem = misfit({name: tensor.shape for name, tensor in model.state_dict().items()}, weights)
    if problem:
        raise CheckpointError(f"{source}: {problem}")
    copies = {name: _own_copy(tensor) for name, tensor in weights.items()}
    problem = not_finite(copies)
    if problem:
        raise CheckpointError(f"{source}: {problem}")
    model.load_state_dict(copies, assign=True)
    return model.eval()


def _kind(weights: Mapping[str, torch.Tensor]) -> Callable[[ModelConfig], ICMFormer]:
    """Return how to build the network of these weights."""
    if FAMILIAR not in weights:
        return ICMFormer
    familiar, unfamiliar = (
        max(len(weights[name]), 1) if name in weights and weights[name].ndim else 1
        for name in (FAMILIAR, UNFAMILIAR)
    )
    return partial(Specialised, familiar=familiar, unfamiliar=unfamiliar)


def _own_copy(tensor: torch.Tensor) -> torch.Tensor:
    contiguous = torch.contiguous_format
    return tensor.to("cpu", torch.float32, copy=True, memory_format=contiguous)


def misfit(expected: Mapping[str, torch.Size], weights: Mapping[str, torch.Tensor]) -> str | None:
    """Say in half a sentence how the weights differ from what a network of these shapes needs."""
    missing = sorted(expected.keys() - weights.keys())
    unknown = sorted(weights.keys() - expected.keys())
    if missing:
        return f"{len(missing)} tensors are missing, the first is {missing[0]}"
    if unknown:
        return f"{len(unknown)} tensors are unknown, the first is {unknown[0]}"
    problem = irregular(weights)
    if problem:
        return problem
    for name, shape in expected.items():
        if weights[name].shape != shape:
            return f"{name} has shape {tuple(weights[name].shape)} instead of {tuple(shape)}"
    return None


def irregular(weights: Mapping[str, torch.Tensor]) -> str | None:
    """Say in half a sentence which weights are no plain arrays of floating-point numbers."""
    for name, tensor in weights.items():
        laid_out = tensor.layout == torch.strided and not (tensor.is_nested or tensor.is_meta)
        if not (laid_out and tensor.is_floating_point()):
            kind = f"{tensor.dtype}, {tensor.layout}, {tensor.device}"
            return f"{name} is no plain array of floating-point numbers ({kind})"
    return None


def not_finite(weights: Mapping[str, torch.Tensor]) -> str | None:
    """Say in half a sentence which weights are NaN or infinite; a network answers nothing then."""
    for name, tensor in weights.items():
        # Their sum is not finite either, and takes a fifth of the time; that of large ones may
        # overflow.
        if not (tensor.sum().isfinite() or tensor.isfinite().all()):
            return f"{name} holds numbers that are not finite"
    return None
