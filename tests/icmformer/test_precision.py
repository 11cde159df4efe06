from types import SimpleNamespace

import numpy as np
import pytest
import torch

from icmformer import Click, Predictor, build_model
from icmformer.errors import ConfigError
from icmformer.precision import autocast, has_native_bf16, keep_matrices_in_bf16

CPU = torch.device("cpu")
CLICKS = [Click(20, 30, True), Click(50, 10, False), Click(22, 40, True)]


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)


def _tiny(name):
    torch.manual_seed(0)
    return build_model(name)


def test_an_unknown_precision_is_refused():
    with pytest.raises(ConfigError, match="precision 'fp16' is unknown: use one of fp32, bf16"):
        Predictor(build_model("tiny"), precision="fp16")


@pytest.mark.parametrize(
    ("dtype", "precision"),
    [
        (torch.float64, "fp32"),
        (torch.float64, "bf16"),
        (torch.float16, "bf16"),
        (torch.bfloat16, "fp32"),
    ],
)
def test_weights_that_do_not_go_with_the_precision_are_refused(dtype, precision):
    with pytest.raises(ConfigError, match=rf"{dtype} cannot answer in {precision}: convert it"):
        Predictor(build_model("tiny").to(dtype), precision=precision)


def test_matrices_kept_in_bf16_are_refused_in_fp32():
    network = build_model("tiny")
    keep_matrices_in_bf16(network)
    with pytest.raises(ConfigError, match=r"bfloat16 cannot answer in fp32"):
        Predictor(network, precision="fp32")


def test_auto_is_bf16_where_it_is_fast():
    with autocast("auto", CPU):
        assert torch.is_autocast_enabled("cpu") == has_native_bf16(CPU)
    with autocast("bf16", CPU):
        assert torch.is_autocast_enabled("cpu")
    with autocast("fp32", CPU):
        assert not torch.is_autocast_enabled("cpu")


def test_each_gpu_is_asked_for_itself(monkeypatch):
    """Of a mixed machine, as PyTorch describes its GPUs: an A100 and a T4."""
    versions = {0: SimpleNamespace(major=8), 1: SimpleNamespace(major=7)}
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: versions[torch.device(device).index]
    )
    assert has_native_bf16(torch.device("cuda:0"))
    assert not has_native_bf16(torch.device("cuda:1"))


@pytest.mark.parametrize(
    ("capabilities", "native"),
    [({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({"avx512": True}, False)],
)
def test_either_kind_of_processor_with_bf16_counts(monkeypatch, capabilities, native):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert has_native_bf16(CPU) == native


@pytest.mark.parametrize("name", ["tiny", "tiny_swin"])
def test_bf16_is_close_to_fp32(name, image):
    probabilities = [
        Predictor(_tiny(name), precision=precision).segment(image, CLICKS).probability
        for precision in ("fp32", "bf16")
    ]
    assert not np.array_equal(*probabilities)
    agree = (probabilities[0] > 0.49) == (probabilities[1] > 0.49)
    assert agree.mean() > 0.9


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_autocast_of_a_training_around_it_changes_no_bit_and_keeps_its_gradients(
    image, precision
):
    network = _tiny("tiny")
    expected = Predictor(network, precision=precision).segment(image, CLICKS)
    crop, maps = torch.rand(1, 3, 64, 64), torch.zeros(1, 3, 64, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = Predictor(network, precision=precision).segment(image, CLICKS)
        network(crop, maps[:, :2], maps[:, 2:]).sum().backward()
    np.testing.assert_array_equal(inside.probability, expected.probability)
    assert all(weights.grad is not None for weights in network.parameters())


@pytest.mark.parametrize("name", ["tiny", "tiny_swin"])
def test_what_torch_makes_tensors_of_unless_told_otherwise_changes_no_bit(name, image):
    predictor = Predictor(_tiny(name), precision="fp32")
    expected = predictor.segment(image, CLICKS)
    torch.set_default_dtype(torch.float64)
    try:
        result = predictor.segment(image, CLICKS)
    finally:
        torch.set_default_dtype(torch.float32)
    np.testing.assert_array_equal(result.probability, expected.probability)


@pytest.mark.parametrize("name", ["tiny", "tiny_swin"])
def test_kept_matrices_change_no_bit_and_take_half_the_memory(name, image):
    network = _tiny(name)
    before = Predictor(network, precision="bf16").segment(image, CLICKS)
    nbytes = sum(parameter.nbytes for parameter in network.parameters())
    keep_matrices_in_bf16(network)
    after = Predictor(network, precision="bf16").segment(image, CLICKS)
    np.testing.assert_array_equal(after.probability, before.probability)
    assert sum(parameter.nbytes for parameter in network.parameters()) < 0.6 * nbytes


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("name", ["tiny", "tiny_swin"])
def test_gpu_agrees_with_cpu(name, image):
    on_cpu = Predictor.for_benchmark(_tiny(name)).segment(image, CLICKS)
    on_gpu = Predictor.for_benchmark(_tiny(name).cuda()).segment(image, CLICKS)
    np.testing.assert_allclose(on_gpu.probability, on_cpu.probability, atol=1e-3)
    serving = Predictor(_tiny(name).cuda())
    stepwise = None
    for count in range(1, len(CLICKS) + 1):
        stepwise = serving.segment(image, CLICKS[:count], stepwise)
    replayed = serving.segment(image, CLICKS)
    np.testing.assert_array_equal(stepwise.probability, replayed.probability)
