"""Optimiser, learning rate and moving average, from the numbers of a recipe."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from training.recipe import Optimization

# Learned positions are no matrices: shrinking them would say that positions matter less.
_TABLES = ("relative_position_bias_table", "position_embedding")


def make_optimizer(model: nn.Module, options: Optimization) -> torch.optim.Optimizer:
    """Return the optimiser; each group carries its share of the learning rate in "share"."""
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        is_matrix = parameter.ndim > 1 and not name.endswith(_TABLES)
        (decayed if is_matrix else kept).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": options.weight_decay, "share": 1.0},
        {"params": kept, "weight_decay": 0.0, "share": 1.0},
    ]
    kind = torch.optim.AdamW if options.kind == "adamw" else torch.optim.Adam
    return kind(groups, lr=options.learning_rate, betas=options.betas, eps=options.eps, fused=True)


def learning_rate(options: Optimization, epochs: float, total: float) -> float:
    """Return the learning rate after so many epochs of a training of `total` epochs."""
    if epochs < options.warmup:
        return options.learning_rate * epochs / options.warmup
    if options.shape == "steps":
        passed = sum(epochs >= milestone for milestone in options.milestones)
        return options.learning_rate * options.step_factor**passed
    if options.shape == "cosine":
        done = (epochs - options.warmup) / max(total - options.warmup, 1e-9)
        return options.learning_rate * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    left = max(total - epochs, 0.0)
    return options.learning_rate * min(left / options.decay if options.decay else 1.0, 1.0)


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Give every parameter group its share of the learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = value * group["share"]


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move the average a step towards the model; early on faster, to forget the random start."""
    decay = min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(_data(average.parameters()), _data(model.parameters()), 1 - decay)


def _data(parameters: Iterable[nn.Parameter]) -> list[torch.Tensor]:
    return [parameter.data for parameter in parameters]
