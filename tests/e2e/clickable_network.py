"""A tiny network whose masks mean nothing, but change with every click.

Random weights alone give probabilities on one side of the threshold: empty masks, with which any
two networks would agree. So the last layer is set to call three tenths of one picture object.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from icmformer import Click, ICMFormer, Predictor, build_model, save_checkpoint

PICTURE = Path(__file__).parents[2] / "ml_backend" / "demo" / "images" / "coffee.jpg"
OBJECT_SHARE = 0.3
STEEPNESS = 4.0


def save_clickable_network(path: Path) -> Path:
    save_checkpoint(clickable_network(), path)
    return path


def clickable_network() -> ICMFormer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_model("tiny")
    image = np.array(Image.open(PICTURE))
    probability = Predictor.for_benchmark(model).segment(image, [Click(300, 150, True)]).probability
    border = float(np.quantile(np.log(probability / (1 - probability)), 1 - OBJECT_SHARE))
    classifier = model.head.classifier
    with torch.no_grad():
        classifier.bias.sub_(border).mul_(STEEPNESS)
        classifier.weight.mul_(STEEPNESS)
    return model
