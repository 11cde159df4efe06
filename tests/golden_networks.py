"""Weights and inputs of the golden networks, from formulas; see tests/golden/ORIGIN.md."""

import hashlib
import json
import zlib
from pathlib import Path

import numpy as np
import torch

GOLDEN = Path(__file__).parent / "golden"


def shapes(network):
    """Return {name in the authors' code: shape} of every floating-point tensor."""
    entries = json.loads((GOLDEN / f"state_dict_{network}.json").read_text())["tensors"]
    return {key: tuple(e["shape"]) for key, e in entries.items() if e["dtype"] == "float32"}


def state_dict(network):
    """Return the golden weights under the authors' names."""
    return {key: golden_tensor(key, shape) for key, shape in shapes(network).items()}


def golden_tensor(key, shape):
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    values = rng.standard_normal(size=shape)
    last = key.split(".")[-1]
    if last in ("pos_embed", "cls_token", "relative_position_bias_table"):
        values = 0.5 * values
    elif len(shape) > 1:
        values = values / np.sqrt(np.prod(shape[1:]))
    elif last == "weight":
        values = 1 + 0.1 * values
    else:
        values = 0.1 * values
    return torch.from_numpy(values.astype(np.float32))


def fingerprint(weights):
    digest = hashlib.sha256()
    for key in sorted(weights):
        digest.update(key.encode())
        digest.update(weights[key].numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def load(network):
    with np.load(GOLDEN / f"golden_{network}.npz") as arrays:
        return dict(arrays)


def inputs(model, arrays, case):
    """Return image, click maps and previous mask of a case such as "multi_448"."""
    kind, size = case.split("_")
    size = int(size)
    image = _smooth_noise(1001, 3, size)
    previous = _smooth_noise(2002, 1, size) if kind == "multi" else torch.zeros(1, 1, size, size)
    points = arrays[f"{case}/points"][0]
    positive = np.arange(len(points)) < len(points) // 2
    given = points[:, :2].max(axis=1) >= 0  # the others fill up the array
    maps = model.click_maps(points[given, :2], positive[given], (size, size))
    return image, maps[None], previous


def _smooth_noise(seed, channels, size):
    rng = np.random.Generator(np.random.PCG64(seed))
    cells = -(-size // 16)
    coarse, fine = rng.random((channels, cells, cells)), rng.random((channels, size, size))
    enlarged = coarse.repeat(16, axis=1).repeat(16, axis=2)[:, :size, :size]
    return torch.from_numpy((0.5 * enlarged + 0.5 * fine).astype(np.float32))[None]
