"""The authors' checkpoint files, turned into ours; the only file that knows their names.

A file is a `torch.save` dictionary of `state_dict` and `config`. Its pickle names classes of the
authors' package (a loss object hides in the configuration), so it is read by PyTorch's restricted
unpickler, with inert stand-ins for exactly those names: nothing in the file is ever executed.
"""

import math
import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from icmformer.assembly import assemble, irregular
from icmformer.config import ModelConfig
from icmformer.errors import CheckpointError, ConfigError
from icmformer.model import IMAGE_MEAN, IMAGE_STD, ICMFormer
from icmformer.variants import VARIANTS

StateDict = Mapping[str, torch.Tensor]

_CLASSES = (
    "isegm.model.is_icmformer_plainvit_model.PlainVitModel",
    "isegm.model.is_icmformer_swinformer_model.SwinformerModel",
)
# What the network must have been built with; a file that says otherwise computes something else.
_FIXED_SETTINGS = {
    "use_disks": True,
    "with_prev_mask": True,
    "with_aux_output": False,
    "random_split": False,
    "norm_mean_std": (IMAGE_MEAN, IMAGE_STD),
}
_FOREIGN = "docs/benchmark.md says how another network is benchmarked"
# Not in the weights' shapes. Channels of a plain ViT → heads, of self- and cross-attention.
_VIT_HEADS = {768: 12, 1024: 16, 1280: 16}
_SWIN_CROSS_HEADS = 8
# What reading sizes off tensors of another rank or kind can raise.
_UNUSUAL = (ConfigError, IndexError, RuntimeError, TypeError, ValueError, ZeroDivisionError)

# Parameters that the authors' network has and never uses, and buffers that follow from its sizes.
_UNUSED = re.compile(
    r"backbone\.(cls_token$|fc_norm\.|head\.|patch_embed_coords\.)"
    r"|head\.up_conv[12]\."
    r"|.*\.(relative_position_index|attn_mask)$"
)
_RENAMED = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^patch_embed_coords\.", "backbone.click_embed."),
        (r"^backbone\.pos_embed$", "backbone.position_embedding"),
        (r"^backbone\.blocks2\.", "backbone.cross_modality.blocks."),
        (r"\.attn1\.", ".self_attention."),
        (r"\.attn2\.", ".cross_attention."),
        (r"^backbone\.layers\.", "backbone.stages."),
        (r"^backbone\.norm(\d)\.", r"backbone.norms.\1."),
        (r"^neck\.down_4\.", "backbone.pyramid.quarter."),
        (r"^neck\.down_8\.", "backbone.pyramid.eighth."),
        (r"^neck\.down_16\.", "backbone.pyramid.sixteenth."),
        (r"^neck\.down_32\.", "backbone.pyramid.thirtysecond."),
        (r"^head\.convs\.(\d)\.conv\.", r"head.branches.\1."),
        (r"^head\.fusion_conv\.conv\.", "head.fusion."),
        (r"^head\.conv_seg\.", "head.classifier."),
    )
)


def load(path: str | os.PathLike[str]) -> ICMFormer:
    """Read a checkpoint file of the authors' release.

    Args:
        path: a file of `torch.save`, in the format it has had since PyTorch 1.6.

    Returns:
        The network, in evaluation mode.

    Raises:
        CheckpointError: if the file is not one of the authors' checkpoints, or names anything
            outside the allow-list; nothing in it has been executed then either.
    """
    content = _unpickle(Path(path))
    if not isinstance(content, dict) or content.keys() != {"state_dict", "config"}:
        raise CheckpointError(f"{path}: not a dictionary of 'state_dict' and 'config'; {_FOREIGN}")
    try:
        settings = _settings(content["config"])
        config = infer_config(content["state_dict"], _of_backbone(settings, "num_heads"))
        return from_state_dict(content["state_dict"], _as_recorded(config, settings))
    except (CheckpointError, ConfigError) as error:
        raise CheckpointError(f"{path}: {error}; {_FOREIGN}") from error


def from_state_dict(state_dict: StateDict, config: ModelConfig | None = None) -> ICMFormer:
    """Build the network that the authors' parameters belong to.

    Args:
        state_dict: parameters under the authors' names.
        config: of the network; by default it is inferred from the shapes.

    Returns:
        The network, in evaluation mode.

    Raises:
        CheckpointError: if these are not the parameters of such a network.
    """
    config = config or infer_config(state_dict)
    weights = {}
    for key, tensor in state_dict.items():
        name = rename(key, plain_vit=config.backbone == "vit")
        if name is not None:
            weights[name] = tensor
    problem = irregular(weights)
    if problem:
        raise CheckpointError(f"the authors' parameters: {problem}")
    position = weights.get("backbone.position_embedding")
    if position is not None:
        # without the class token's entry
        weights["backbone.position_embedding"] = position[:, 1:]
    return assemble(config, weights, "the authors' parameters")


def infer_config(state_dict: StateDict, num_heads: int | None = None) -> ModelConfig:
    """Read the sizes of a network off the shapes of the authors' parameters.

    Args:
        state_dict: parameters under the authors' names.
        num_heads: of a plain ViT, where its size does not tell.

    Raises:
        CheckpointError: if the shapes are not those of a network this package can build.
    """
    if not isinstance(state_dict, Mapping) or not all(map(torch.is_tensor, state_dict.values())):
        raise CheckpointError("the state_dict holds something else than named tensors")
    infer = _infer_vit if "backbone.pos_embed" in state_dict else _infer_swin
    try:
        return infer(state_dict, num_heads)
    except KeyError as error:
        raise CheckpointError(f"the state_dict lacks {error.args[0]}") from error
    except _UNUSUAL as error:
        raise CheckpointError(f"the state_dict has unusual shapes: {error}") from error


def rename(key: str, plain_vit: bool) -> str | None:
    """Translate the name of one of the authors' parameters; None for those never used."""
    if _UNUSED.match(key):
        return None
    for pattern, replacement in _RENAMED:
        key = pattern.sub(replacement, key)
    if plain_vit:
        key = key.replace("backbone.patch_embed.", "backbone.image_embed.")
    return key


def _infer_vit(state_dict: StateDict, num_heads: int | None) -> ModelConfig:
    dim, _, patch, _ = state_dict["backbone.patch_embed.proj.weight"].shape
    num_heads = num_heads or _VIT_HEADS.get(dim)
    if num_heads is None:
        raise CheckpointError(f"the number of heads of a ViT of {dim} channels is not known")
    depth = _count(state_dict, "backbone.blocks")
    side = math.isqrt(state_dict["backbone.pos_embed"].shape[1] - 1) * patch
    ends = ("down_4.5", "down_8.2", "down_16.0", "down_32.2")
    return replace(
        VARIANTS["vit_base"],
        input_size=(side, side),
        patch_size=patch,
        embed_dim=dim,
        depths=(depth // 2, depth - depth // 2),
        num_heads=(num_heads, num_heads),
        window_size=224 // patch,
        global_every=6 if depth == 12 else depth // 4,
        num_cross_blocks=_count(state_dict, "backbone.blocks2"),
        cross_heads=num_heads,
        pyramid_widths=tuple(state_dict[f"neck.{end}.weight"].shape[0] for end in ends),
        head_width=_head_width(state_dict),
    )


def _infer_swin(state_dict: StateDict, _: int | None) -> ModelConfig:
    tables = [
        state_dict[f"backbone.layers.{stage}.blocks.0.attn.relative_position_bias_table"]
        for stage in range(4)
    ]
    window = (math.isqrt(len(tables[0])) + 1) // 2
    return replace(
        VARIANTS["swin_base"],
        # A guess, unless the file says: 224 for windows of 7, 384 for windows of 12.
        input_size=(32 * window, 32 * window),
        embed_dim=len(state_dict["backbone.patch_embed.proj.weight"]),
        depths=tuple(_count(state_dict, f"backbone.layers.{s}.blocks") for s in range(4)),
        num_heads=tuple(table.shape[1] for table in tables),
        window_size=window,
        num_cross_blocks=_count(state_dict, "backbone.blocks2"),
        cross_heads=_SWIN_CROSS_HEADS,
        head_width=_head_width(state_dict),
    )


def _head_width(state_dict: StateDict) -> int:
    width = len(state_dict["head.fusion_conv.conv.weight"])
    if state_dict["head.conv_seg.weight"].shape[1] != width:
        raise CheckpointError("the head upsamples before its classifier, which is not supported")
    return width


def _count(state_dict: StateDict, prefix: str) -> int:
    """Return how many consecutively numbered modules there are under a prefix."""
    pattern = re.compile(re.escape(prefix) + r"\.(\d+)\.")
    return len({match[1] for match in map(pattern.match, state_dict) if match})


def _settings(config: Any) -> dict[str, Any]:
    """Return the settings the file was saved with, refusing those of another network."""
    try:
        name = config["class"]
        settings = {key: entry["value"] for key, entry in config["params"].items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise CheckpointError("'config' does not have the authors' layout") from error
    if name not in _CLASSES:
        raise CheckpointError(f"holds a {name}, which is not one of {', '.join(_CLASSES)}")
    for key, expected in _FIXED_SETTINGS.items():
        value = _plain(settings.get(key, expected))
        if value != _plain(expected):
            raise CheckpointError(f"was built with {key}={value}, not {expected}")
    return settings


def _as_recorded(config: ModelConfig, settings: Mapping[str, Any]) -> ModelConfig:
    """Return the configuration with what the file says and the shapes do not tell."""
    config = replace(config, click_radius=settings.get("norm_radius", config.click_radius))
    # In the authors' Swins also the size of the crops; of a ViT the position embedding tells.
    side = _of_backbone(settings, "pretrain_img_size") if config.backbone == "swin" else None
    return config if side is None else replace(config, input_size=(side, side))


def _of_backbone(settings: Mapping[str, Any], name: str) -> int | None:
    """Return a number that the file gives for its backbone; None for one it does not give."""
    backbone = settings.get("backbone_params")
    number = backbone.get(name) if isinstance(backbone, dict) else None
    return number if isinstance(number, int) else None


def _plain(value: Any) -> Any:
    """Return what can be compared: tuples as lists, and of a tensor only that it is one."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return "a tensor" if torch.is_tensor(value) else value


class _Inert:
    """Takes the place of the loss object in a configuration; has no behaviour."""


def _inert(*_: Any) -> None:
    """Take the place of the loss function that the loss object refers to."""


_LOSS = "isegm.model.modeling.transformer_helper.cross_entropy_loss"
# What the file may name beyond tensors and plain containers, and what each name becomes.
_ALLOWED: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (_Inert, f"{_LOSS}.CrossEntropyLoss"),
    (_inert, f"{_LOSS}.cross_entropy"),
]
# torch keeps the allow-list for the whole process: whoever is done first takes it from the others.
_ALLOWING = threading.Lock()


def _unpickle(path: Path) -> Any:
    """Read the file with PyTorch's restricted unpickler and the allow-list above."""
    try:
        with _ALLOWING, torch.serialization.safe_globals(_ALLOWED):
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    except Exception as error:  # a damaged pickle can fail in any way
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        problem = "truncated, or not a file that torch.save has written since PyTorch 1.6"
        if named:
            problem = f"refused, nothing was executed: no file of the authors names {named[1]}"
            problem += f"; {_FOREIGN}"
        raise CheckpointError(f"{path}: {problem}") from error
