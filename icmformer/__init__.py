"""Turns an image, clicks and a previous mask into a mask; knows nothing of servers or training."""

from icmformer.checkpoint import STARTER, load_checkpoint, save_checkpoint
from icmformer.clicks import Click
from icmformer.config import ModelConfig
from icmformer.model import ICMFormer
from icmformer.predictor import Predictor
from icmformer.segmentation import Segmentation
from icmformer.variants import MODEL_NAMES, build_model

__all__ = [
    "MODEL_NAMES",
    "STARTER",
    "Click",
    "ICMFormer",
    "ModelConfig",
    "Predictor",
    "Segmentation",
    "build_model",
    "load_checkpoint",
    "save_checkpoint",
]
