"""Optimiser, learning rate and moving average, from the numbers of a recipe."""

import math
import re
from collections.abc import Iterable, Sequence

import torch
from torch import nn

from icmformer import ICMFormer
from training.errors import RecipeError
from training.loop.muon import Muon
from training.loop.recipe import Optimization

_OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "muon": Muon}

# Learned positions are no matrices: shrinking them would say that positions matter less.
_TABLES = ("relative_position_bias_table", "position_embedding")


def require_finite(model: nn.Module, seen: str, left: str = "") -> None:
    """Refuse to go on once a weight is no finite number, as after too high a learning rate.

    Args:
        model: that is trained.
        seen: how much it has seen, such as "5 steps".
        left: what more there is to say, such as what is left of the training.

    Raises:
        RecipeError: if the training has diverged.
    """
    if not all(weight.isfinite().all() for weight in model.parameters()):
        raise RecipeError(
            f"the training has diverged, its weights are no finite numbers after {seen}: "
            f"lower optimization.learning_rate, or set optimization.clip_grad_norm{left}"
        )


def make_optimizer(model: ICMFormer, options: Optimization) -> torch.optim.Optimizer:
    """Return the optimiser; each group carries its share of the learning rate in "share".

    Muon orthogonalises the matrices of groups with "orthogonal" set.
    """
    groups: dict[tuple[float, bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        decays = parameter.ndim > 1 and not name.endswith(_TABLES)
        orthogonal = options.optimizer == "muon" and decays and parameter.ndim == 2
        share = options.layer_decay ** _blocks_above(name, model.config.depths)
        groups.setdefault((share, decays, orthogonal), []).append(parameter)
    return _OPTIMIZERS[options.optimizer](
        [
            {
                "params": parameters,
                "weight_decay": options.weight_decay if decays else 0.0,
                "share": share,
                "orthogonal": orthogonal,
            }
            for (share, decays, orthogonal), parameters in sorted(
                groups.items(), key=lambda item: item[0], reverse=True
            )
        ],
        lr=options.learning_rate,
        betas=options.betas,
        eps=options.eps,
        fused=True,
    )


def _blocks_above(name: str, depths: Sequence[int]) -> int:
    """Return how many layers of the pretrained backbone follow the one of this parameter.

    Everything that no pretraining knows (click embedding, cross-modality blocks, pyramid, head)
    counts as following them all.
    """
    blocks = sum(depths)
    if match := re.match(r"backbone\.blocks\.(\d+)\.", name):
        return blocks - int(match[1])
    if match := re.match(r"backbone\.stages\.(\d+)\.blocks\.(\d+)\.", name):
        return blocks - sum(depths[: int(match[1])]) - int(match[2])
    if match := re.match(r"backbone\.stages\.(\d+)\.", name):
        # What merges patches after a stage belongs to its last block.
        return blocks - sum(depths[: int(match[1]) + 1]) + 1
    embeds_image = name.startswith(("backbone.image_embed", "backbone.patch_embed"))
    return blocks + 1 if embeds_image or name == "backbone.position_embedding" else 0


def learning_rate(options: Optimization, epochs: float, total: float) -> float:
    """Return the learning rate after so many epochs of a training of `total` epochs."""
    if epochs < options.warmup_epochs:
        return options.learning_rate * epochs / options.warmup_epochs
    if options.schedule == "steps":
        passed = sum(epochs >= milestone for milestone in options.milestones)
        return options.learning_rate * options.step_factor**passed
    if options.schedule == "cosine":
        done = (epochs - options.warmup_epochs) / (total - options.warmup_epochs)
        return options.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
    return options.learning_rate * min((total - epochs) / options.decay_epochs, 1.0)


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
