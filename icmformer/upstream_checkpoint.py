"""The authors' checkpoint files, turned into ours; the only file that knows their names.

A file is a `torch.save` dictionary of `state_dict` and `config`. Its pickle names classes of the
authors' package (a loss object hides in the configuration), so it is read by PyTorch's restricted
unpickler, with inert stand-ins for exactly those names: nothing in the file is ever executed.
"""

import re
from collections.abc import Mapping

import torch

from icmformer.config import ModelConfig
from icmformer.errors import CheckpointError
from icmformer.model import ICMFormer
from icmformer.variants import VARIANTS

# Parameters that the authors' network has and never uses: see `_is_dead`.
_DEAD = re.compile(
    r"backbone\.(cls_token|fc_norm\.|head\.|patch_embed_coords\.)"
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


def rename(key: str, plain_vit: bool) -> str | None:
    """Translate the name of one of the authors' parameters; None for those never used."""
    if _DEAD.match(key):
        return None
    for pattern, replacement in _RENAMED:
        key = pattern.sub(replacement, key)
    if plain_vit:
        key = key.replace("backbone.patch_embed.", "backbone.image_embed.")
    return key
