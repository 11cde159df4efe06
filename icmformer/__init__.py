"""Turns an image, clicks and a previous mask into a mask; knows nothing of servers or training."""

from pathlib import Path

from icmformer.box import Box
from icmformer.checkpoint import STARTER, load_checkpoint, save_checkpoint
from icmformer.clicks import Click
from icmformer.config import ModelConfig
from icmformer.errors import CheckpointError, ConfigError, ICMFormerError, InputError
from icmformer.model import ICMFormer
from icmformer.predictor import Predictor
from icmformer.segmentation import Segmentation
from icmformer.variants import MODEL_NAMES, build_model

__all__ = [
    "MODEL_NAMES",
    "STARTER",
    "Box",
    "CheckpointError",
    "Click",
    "ConfigError",
    "ICMFormer",
    "ICMFormerError",
    "InputError",
    "ModelConfig",
    "Predictor",
    "Segmentation",
    "build_model",
    "load_checkpoint",
    "save_checkpoint",
]

# Of the whole project. In a file, because the other packages say it without importing torch.
__version__ = Path(__file__).with_name("version.txt").read_text().strip()
