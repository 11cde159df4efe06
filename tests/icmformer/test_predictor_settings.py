"""What a predictor cannot be made of."""

import numpy as np
import pytest

from icmformer.checkpoint import STARTER
from icmformer.errors import ConfigError
from icmformer.predictor import Predictor
from icmformer.repeated_zoom_in import RepeatedZoomIn
from icmformer.variants import build_model
from tests.toy_network import ToyNetwork


@pytest.mark.parametrize("predictor_of", [Predictor, Predictor.for_benchmark])
def test_refuses_what_is_no_network(predictor_of):
    empty = ToyNetwork()
    del empty.where

    with pytest.raises(ConfigError, match=r"needs a network, such as load_.*, this is a PosixPath"):
        predictor_of(STARTER)
    with pytest.raises(ConfigError, match="network, a ToyNetwork, has no parameters: give it one"):
        predictor_of(empty)


@pytest.mark.parametrize("size", [(0, 0), 448, 0, (448,), (448.0, 448.0), ()])
def test_refuses_sizes_that_mean_nothing(size):
    with pytest.raises(ConfigError, match=r"two whole numbers, such as \(448, 448\), not "):
        Predictor.for_benchmark(ToyNetwork(), size)


@pytest.mark.parametrize("size", [(0, 0), 64, (64, 64, 64), "ab"])
def test_refuses_to_zoom_to_sizes_that_mean_nothing(size):
    with pytest.raises(ConfigError, match="need to be two whole numbers, such as"):
        RepeatedZoomIn(size)


def test_refuses_sizes_that_the_network_cannot_work_with():
    network = build_model("tiny")
    for predictor_of in (
        lambda size: Predictor(network, zoom_in=RepeatedZoomIn(size)),
        lambda size: Predictor.for_benchmark(network, size),
    ):
        predictor_of((96, np.int64(64)))
        with pytest.raises(ConfigError, match=r"\(100, 100\) cannot .* take multiples of 32"):
            predictor_of((100, 100))


@pytest.mark.parametrize("zoom_in", [(64, 64), 3, "zoom"])
def test_refuses_what_is_no_zoom(zoom_in):
    with pytest.raises(ConfigError, match=r"such as RepeatedZoomIn\(\(448, 448\)\), not "):
        Predictor(ToyNetwork(), zoom_in=zoom_in)
