"""The golden evaluation loops: image, target and settings; see tests/golden/ORIGIN.md."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from icmformer.predictor import Predictor
from icmformer.zoom_in import ZoomIn

GOLDEN = Path(__file__).parent / "golden"
SIZE = (300, 420)


@dataclass(frozen=True)
class Loop:
    """How the predictor was set up for one of the loops."""

    input_size: tuple[int, int]
    flip: bool = True

    def predictor(self, network):
        zoom_in = ZoomIn(self.input_size)
        return Predictor(network, zoom_in=zoom_in, flip=self.flip, precision="fp32")


LOOPS = {
    "fixed224_flip": Loop((224, 224)),
    "fixed224_noflip": Loop((224, 224), flip=False),
    "fixed160x224_flip": Loop((160, 224)),
}


def load(name):
    """Return the arrays recorded for one loop, or everything there is besides loops."""
    with np.load(GOLDEN / "golden_eval.npz") as arrays:
        return {key.removeprefix(f"{name}/"): arrays[key] for key in arrays if name in key}


def target():
    """(300, 420) int8: 1 object, 0 background, -1 ignore."""
    with np.load(GOLDEN / "golden_eval.npz") as arrays:
        planes = [np.unpackbits(arrays[key]) for key in ("gt_packed", "ignore_packed")]
    gt, ignore = (plane[: SIZE[0] * SIZE[1]].reshape(SIZE) for plane in planes)
    return np.where(ignore == 1, np.int8(-1), gt.astype(np.int8))


def image():
    """(300, 420, 3) uint8: the object a little brighter than its noisy surroundings."""
    noise = _noise(seed=52, channels=3).transpose(1, 2, 0).astype(np.float64)
    is_object = (target() == 1)[..., None]
    values = 0.5 + 0.30 * (is_object - 0.5) + 0.5 * (noise - 0.5)
    return np.round(255 * np.clip(values, 0, 1)).astype(np.uint8)


def _noise(seed, channels):
    rng = np.random.Generator(np.random.PCG64(seed))
    height, width = SIZE
    coarse = rng.random((channels, -(-height // 16), -(-width // 16)))
    fine = rng.random((channels, height, width))
    enlarged = coarse.repeat(16, axis=1).repeat(16, axis=2)[:, :height, :width]
    return (0.5 * enlarged + 0.5 * fine).astype(np.float32)
