"""Requests to stop are remembered, and signals given back."""

import os
import signal

import torch

from training.processes import StopSignals, fast_attention, make_accelerator


def test_a_request_to_stop_is_remembered():
    before = signal.getsignal(signal.SIGTERM)
    accelerator = make_accelerator(on_cpu=True)
    stop = StopSignals()

    assert not stop.agreed(accelerator)
    os.kill(os.getpid(), signal.SIGTERM)

    assert stop.agreed(accelerator)
    stop.forget()
    assert signal.getsignal(signal.SIGTERM) is before


def test_attention_on_a_cpu_is_the_same_attention():
    query, key, value = torch.randn(3, 2, 4, 49, 16).unbind(0)
    attention = torch.nn.functional.scaled_dot_product_attention
    expected = attention(query, key, value)

    with fast_attention(torch.device("cpu")):
        torch.testing.assert_close(attention(query, key, value), expected)
