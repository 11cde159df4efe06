"""A version proves that it can answer before it goes live."""

import pytest
import torch

from icmformer import build_model, save_checkpoint
from tests.specialised_network import specialised_network
from training.errors import VersionError
from training.fine_tuning.serving_check import check_serves


@pytest.mark.parametrize("wild", ["", "specialist", "generalist"])
def test_a_network_that_answers_nonsense_does_not_serve(tmp_path, wild):
    """Nor does one of a pair, on whichever images it is to answer."""
    network = specialised_network() if wild else build_model("tiny")
    answering = network.generalist if wild == "generalist" else network
    with torch.no_grad():
        for weight in answering.head.parameters():
            weight.mul_(1e37)  # what overflows is infinite, and infinity minus infinity no number
    save_checkpoint(network, tmp_path / "wild.safetensors")
    with pytest.raises(VersionError, match="does not answer"):
        check_serves(tmp_path / "wild.safetensors")
