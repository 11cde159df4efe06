"""A version proves that it can answer before it goes live."""

import pytest
import torch

from icmformer import build_model, save_checkpoint
from training.errors import VersionError
from training.serving_check import check_serves


def test_a_network_that_answers_nonsense_does_not_serve(tmp_path):
    network = build_model("tiny")
    with torch.no_grad():
        next(network.head.parameters()).fill_(float("nan"))
    save_checkpoint(network, tmp_path / "nan.safetensors")
    with pytest.raises(VersionError, match="does not answer"):
        check_serves(tmp_path / "nan.safetensors")
