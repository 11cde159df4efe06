"""A device counts only where torch computes on it."""

import pytest
import torch

from icmformer import devices
from icmformer.devices import is_out_of_memory, usable_device, why_unusable
from icmformer.errors import ConfigError

# What torch raises, word by word, when cuBLAS or cuDNN finds no memory of its own.
OF_LIBRARIES = [
    "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "GET was unable to find an engine to execute this computation",
    "FIND was unable to find an engine to execute this computation",
    "Unable to find a valid cuDNN algorithm to run convolution",
]


def test_the_cpu_computes():
    assert why_unusable("cpu") is None
    assert why_unusable(torch.device("cpu")) is None


def test_a_device_that_is_named_is_taken_or_refused_with_a_reason():
    assert usable_device("cpu") == usable_device(torch.device("cpu")) == "cpu"
    with pytest.raises(ConfigError, match=r"cannot compute on 'cuda:77' \(.+\): use cpu, or a GPU"):
        usable_device("cuda:77")


@pytest.mark.parametrize("device", ["cuda:77", "xpu:77", "meta", "gpu"])
def test_what_cannot_compute_says_why_in_one_line(device):
    reason = why_unusable(device)
    assert reason
    assert "\n" not in reason


def test_a_gpu_that_is_full_at_the_moment_is_usable(monkeypatch):
    def refuse(*size, device):
        raise torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors …")

    monkeypatch.setattr(torch, "ones", refuse)
    assert why_unusable("cuda") is None
    assert usable_device("auto") == "cuda"


@pytest.mark.parametrize(
    ("free", "chosen"), [(200 << 20, "cuda"), (8 << 30, "cpu")], ids=["full", "broken"]
)
@pytest.mark.parametrize("words", OF_LIBRARIES)
def test_a_library_without_memory_is_told_from_one_that_is_broken(monkeypatch, words, free, chosen):
    def refuse(*arguments):
        raise RuntimeError(words)

    monkeypatch.setattr(devices.F, "conv2d", refuse)
    monkeypatch.setattr(torch, "ones", lambda *size, device: torch.zeros(size))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 16 << 30))
    assert is_out_of_memory(RuntimeError(words)), "for work that may simply be tried once more"
    assert usable_device("auto") == chosen
    assert why_unusable("cuda") == (words if chosen == "cpu" else None)


def test_a_gpu_that_cannot_even_say_how_much_memory_it_has_is_broken(monkeypatch):
    def fail(*_):
        raise torch.AcceleratorError("CUDA error: unspecified launch failure")

    def refuse(*_):
        raise RuntimeError(OF_LIBRARIES[1])

    monkeypatch.setattr(devices.F, "conv2d", refuse)
    monkeypatch.setattr(torch, "ones", lambda *size, device: torch.zeros(size))
    monkeypatch.setattr(torch.cuda, "mem_get_info", fail)
    assert why_unusable("cuda") == OF_LIBRARIES[1]
    assert usable_device("auto") == "cpu"


def test_a_gpu_that_torch_counts_and_cannot_use_is_not_chosen(monkeypatch):
    """What a GPU answers for which this torch has no code."""

    def refuse(*arguments, **options):
        raise torch.AcceleratorError("CUDA error: no kernel image is available\nCUDA kernel …")

    monkeypatch.setattr(devices.F, "conv2d", refuse)
    monkeypatch.setattr(torch, "ones", lambda *size, device: torch.zeros(size))
    assert why_unusable("cuda") == "CUDA error: no kernel image is available"
    assert usable_device("auto") == "cpu"
