"""Which weights a fine-tuning run may change: all, all but the image branch, or low-rank updates.

Fewer free weights forget less and train faster; more of them reach further. Low-rank updates are
those of Hu et al. (LoRA, ICLR 2022): W + B·A with B = 0 at first, added up at the end, so that the
result is an ordinary checkpoint.
"""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import nn
from torch.nn.utils import parametrize

from icmformer import ICMFormer
from icmformer.plain_vit import PlainViT
from icmformer.swin import SHARED_STAGES

Adaptation = Literal["full", "frozen_image_branch", "lora"]
_ADAPTED_LAYERS = ("qkv", "proj")


def adapt(model: ICMFormer, adaptation: Adaptation, rank: int) -> None:
    """Leave only the chosen weights trainable.

    Args:
        model: changed in place.
        adaptation: "full"; "frozen_image_branch" keeps what the image passes before it
            meets the clicks; "lora" keeps the backbone but for updates of the attention.
        rank: of those updates.
    """
    if adaptation == "frozen_image_branch":
        for parameter in _image_branch(model):
            parameter.requires_grad_(False)
    if adaptation == "lora":
        model.backbone.requires_grad_(False)
        for layer in _attention_layers(model):
            parametrize.register_parametrization(layer, "weight", _LowRank(layer, rank))


def merge(model: ICMFormer) -> None:
    """Turn low-rank updates into ordinary weights, in place; without any nothing happens."""
    for layer in _attention_layers(model):
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight")


class _LowRank(nn.Module):
    """Adds a product of two thin matrices to a weight."""

    def __init__(self, layer: nn.Linear, rank: int) -> None:
        super().__init__()
        weight = layer.weight
        self.down = nn.Parameter(torch.empty(rank, layer.in_features, device=weight.device))
        self.up = nn.Parameter(torch.zeros(layer.out_features, rank, device=weight.device))
        nn.init.kaiming_uniform_(self.down, a=5**0.5)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight + self.up @ self.down


def _attention_layers(model: ICMFormer) -> Iterator[nn.Linear]:
    for name, module in model.backbone.named_modules():
        if isinstance(module, nn.Linear) and name.rsplit(".", 1)[-1] in _ADAPTED_LAYERS:
            yield module


def _image_branch(model: ICMFormer) -> Iterator[nn.Parameter]:
    backbone = model.backbone
    if isinstance(backbone, PlainViT):
        yield backbone.position_embedding
        yield from backbone.image_embed.parameters()
        yield from backbone.blocks[: model.config.depths[0]].parameters()
    else:
        yield from backbone.patch_embed.parameters()
        yield from backbone.stages[:SHARED_STAGES].parameters()
