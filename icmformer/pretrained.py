"""Start a backbone from pretrained weights: MAE for a plain ViT, ImageNet-22k for a Swin.

They come from timm's hub by name, or from a local file on machines without internet. What the
pretraining does not have (cross-modality blocks, click embedding, pyramid, head) keeps its random
initialisation, what it has and the network lacks (class token, last norm, classifier) is dropped,
and everything else must fit.
"""

import math
import os
import pickle
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch.nn import functional as F

from icmformer.assembly import misfit, not_finite
from icmformer.errors import CheckpointError
from icmformer.model import ICMFormer
from icmformer.plain_vit import grid_size, resize_position_embedding

Weights = Mapping[str, torch.Tensor]

_PRETRAINED = re.compile(
    r"backbone\.(position_embedding|image_embed\.|patch_embed\.|blocks\.|stages\.)"
)
_DROPPED = re.compile(
    r"(cls_token|mask_token|norm|fc_norm|head|head_drop|decoder_\w+)(\.|$)"
    r"|.*\.(attn_mask|relative_position_index)$"
)


def load_pretrained_backbone(model: ICMFormer, source: str | os.PathLike[str]) -> None:
    """Copy pretrained weights into the backbone, resizing what depends on the image size.

    Args:
        model: changed in place; the parts without pretrained weights are left as they are.
        source: a local file (.safetensors, or a PyTorch file, which is read without running code
            from it), in timm's or in the original authors' layout; or a name on timm's hub. The
            paper's: vit_base_patch16_224.mae, vit_large_patch16_224.mae, vit_huge_patch14_224.mae,
            swin_small_patch4_window7_224.ms_in22k, swin_base_patch4_window12_384.ms_in22k.

    Raises:
        CheckpointError: if the source cannot be had, is of another kind or size, or holds numbers
            that are not finite.
    """
    weights = _without_wrapping(_read(source), source)
    convert = _for_vit if model.config.backbone == "vit" else _for_swin
    try:
        converted = dict(convert(weights, model))
    except (RuntimeError, IndexError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{source}: is of another kind or size: its position embedding or bias tables cannot "
            "be resized"
        ) from error
    expected = {name: p.shape for name, p in model.named_parameters() if _PRETRAINED.match(name)}
    problem = misfit(expected, converted)
    if problem:
        raise CheckpointError(f"{source}: is of another kind or size: {problem}")
    problem = not_finite({name: tensor.float() for name, tensor in converted.items()})
    if problem:
        raise CheckpointError(f"{source}: {problem}")
    model.load_state_dict(converted, strict=False)


def resize_bias_table(table: torch.Tensor, window: int) -> torch.Tensor:
    """Resize a relative-position bias table ((2v-1)², heads) to ((2·window-1)², heads).

    Bicubic on the grid of offsets, each head for itself, `align_corners=False`, no antialiasing.
    """
    source, target = math.isqrt(len(table)), 2 * window - 1
    if source == target:
        return table
    grid = table.mT.unflatten(1, (source, source)).unsqueeze(0)
    resized = F.interpolate(grid, size=(target, target), mode="bicubic", align_corners=False)
    return resized[0].flatten(1).T


def _for_vit(weights: Weights, model: ICMFormer) -> Iterator[tuple[str, torch.Tensor]]:
    for name, tensor in weights.items():
        if name == "pos_embed":
            side = math.isqrt(tensor.shape[1])
            grid = tensor[:, tensor.shape[1] - side * side :]  # without the class token's entry
            target = grid_size(model.config.input_size, model.config.patch_size)
            resized = resize_position_embedding(grid.float(), (side, side), target)
            yield "backbone.position_embedding", resized
        else:
            yield "backbone." + re.sub(r"^patch_embed\.", "image_embed.", name), tensor


def _for_swin(weights: Weights, model: ICMFormer) -> Iterator[tuple[str, torch.Tensor]]:
    last = len(model.config.depths) - 1
    merging_comes_first = any(name.startswith(f"layers.{last}.downsample.") for name in weights)
    for name, tensor in weights.items():
        if name.endswith("relative_position_bias_table"):
            tensor = resize_bias_table(tensor.float(), model.config.window_size)
        if merging_comes_first:  # timm's layout: merging belongs to the stage it leads to
            name = re.sub(r"(?<=^layers\.)\d(?=\.downsample)", lambda m: str(int(m[0]) - 1), name)
        yield "backbone." + re.sub(r"^layers\.", "stages.", name), tensor


def _without_wrapping(content: Any, source: str | os.PathLike[str]) -> Weights:
    """Return bare weights: no enclosing dictionary, no prefixes of wrappers, nothing dropped."""
    for key in ("model", "state_dict"):
        content = content.get(key, content) if isinstance(content, Mapping) else content
    if not _are_named_tensors(content):
        raise CheckpointError(f"{source}: holds something else than the weights of a network")
    weights = {re.sub(r"^module\.", "", name): tensor for name, tensor in content.items()}
    if any(name.startswith("encoder.") for name in weights):  # masked image modelling (SimMIM)
        encoder = (name for name in weights if name.startswith("encoder."))
        weights = {name.removeprefix("encoder."): weights[name] for name in encoder}
    return {name: tensor for name, tensor in weights.items() if not _DROPPED.match(name)}


def _are_named_tensors(content: Any) -> bool:
    return isinstance(content, Mapping) and all(
        isinstance(name, str) and torch.is_tensor(tensor) for name, tensor in content.items()
    )


def _read(source: str | os.PathLike[str]) -> Any:
    path = Path(source)
    if path.suffix in (".pth", ".pt", ".bin", ".safetensors") and not path.is_file():
        raise CheckpointError(f"{path}: there is no such file of pretrained weights")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        if path.is_file():
            return torch.load(path, map_location="cpu", weights_only=True)
        # Importing it takes longer than importing torch, and files do without.
        import timm

        return timm.create_model(str(source), pretrained=True, num_classes=0).state_dict()
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{source}: no pretrained weights could be read: it is damaged, or holds more than "
            "tensors, of which nothing is run: save its weights alone, torch.save(weights, file)"
        ) from error
    except Exception as error:  # the hub, the file system and both formats have their own
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(
            f"{source}: no pretrained weights could be read: {reason} (give a local file, or a "
            f"name on timm's hub and a connection to it)"
        ) from error
