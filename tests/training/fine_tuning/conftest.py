import pytest
import torch

from icmformer import build_model, save_checkpoint


@pytest.fixture
def base(tmp_path):
    """A checkpoint of an untrained network."""
    torch.manual_seed(0)
    path = tmp_path / "base.safetensors"
    save_checkpoint(build_model("tiny"), path)
    return path
