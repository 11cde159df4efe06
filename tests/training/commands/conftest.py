"""A tiny GrabCut, a tiny network, and the command that puts them together."""

import cv2
import numpy as np
import pytest
import torch

from icmformer import build_model
from icmformer.checkpoint import save_checkpoint
from training import __main__ as command_line


@pytest.fixture
def data(tmp_path):
    """A data folder with three coloured squares in the layout of GrabCut."""
    rng = np.random.default_rng(5)
    root = tmp_path / "data" / "GrabCut"
    for folder in ("data_GT", "boundary_GT"):
        (root / folder).mkdir(parents=True)
    for index in range(3):
        image = rng.normal((60, 90, 120), 10, (72, 96, 3))
        mask = np.zeros((72, 96), dtype=np.uint8)
        square = (slice(15, 45 + 5 * index), slice(20, 50 + 10 * index))
        image[square] = rng.normal((50, 160, 200), 10, image[square].shape)
        mask[square] = 255
        cv2.imwrite(str(root / f"data_GT/square{index}.bmp"), image.clip(0, 255).astype(np.uint8))
        cv2.imwrite(str(root / f"boundary_GT/square{index}.bmp"), mask)
    return tmp_path / "data"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("models") / "tiny.safetensors"
    save_checkpoint(build_model("tiny"), path)
    return path


@pytest.fixture
def benchmark(monkeypatch, data, tmp_path):
    """Run the command in this process and return its output folder."""

    def run(*arguments, output="out"):
        folder = tmp_path / output
        command = ["benchmark", "--data", str(data), "--output", str(folder), *arguments]
        monkeypatch.setattr("sys.argv", [command_line.__file__, *command])
        assert command_line.main() == 0
        return folder

    return run
