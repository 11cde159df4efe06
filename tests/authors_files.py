"""Checkpoint files as the authors' code writes them."""

import torch

from tests import golden_networks

PLAIN_VIT = "isegm.model.is_icmformer_plainvit_model.PlainVitModel"
SWIN = "isegm.model.is_icmformer_swinformer_model.SwinformerModel"


def config(name, **params):
    """Lay out a configuration as the authors' code records it."""
    entries = {
        key: {"type": "builtin", "value": value, "specified": True} for key, value in params.items()
    }
    return {"class": name, "params": entries}


def small_vit():
    """The authors' parameters of a small ViT: 96 channels, four blocks, images of 224 pixels."""
    shapes = {
        key: tuple(n // 8 if n % 8 == 0 else n for n in shape[:2]) + shape[2:]
        for key, shape in golden_networks.shapes("vit_b_448").items()
        if not any(f".blocks.{index}." in key for index in range(4, 12))
    }
    shapes["backbone.pos_embed"] = (1, 197, 96)
    return {key: golden_networks.golden_tensor(key, shape) for key, shape in shapes.items()}


def save_small_vit(path):
    content = config(PLAIN_VIT, backbone_params={"num_heads": 4})
    torch.save({"state_dict": small_vit(), "config": content}, path)


def save_swin_small(path, window_size, **backbone):
    """Save a Swin-S whose weights are all zero, which makes a small file."""
    offsets = (2 * window_size - 1) ** 2
    state_dict = {
        key: torch.zeros(1).expand(
            (offsets, shape[1]) if key.endswith("relative_position_bias_table") else shape
        )
        for key, shape in golden_networks.shapes("swin_s_224").items()
    }
    content = config(SWIN, backbone_params={"window_size": window_size, **backbone})
    torch.save({"state_dict": state_dict, "config": content}, path)
