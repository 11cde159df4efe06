"""Requests to stop are remembered, and signals given back."""

import os
import signal
import subprocess
import sys

import pytest
import torch

from training.errors import RecipeError
from training.loop.processes import (
    StopRequested,
    StopSignals,
    explained_deaths,
    fast_attention,
    is_launched,
    make_accelerator,
)


def test_a_request_to_stop_is_remembered():
    before = signal.getsignal(signal.SIGTERM)
    accelerator = make_accelerator("cpu")
    stop = StopSignals()

    assert not stop.agreed(accelerator)
    os.kill(os.getpid(), signal.SIGTERM)

    assert stop.agreed(accelerator)
    stop.forget()
    assert signal.getsignal(signal.SIGTERM) is before
    with pytest.raises(StopRequested, match="Terminated") as ended:
        stop.interrupt()
    assert ended.value.status == 143


def test_a_launcher_is_known(monkeypatch):
    accelerator = make_accelerator("cpu")

    assert not is_launched(accelerator)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "as torchrun sets it")
    assert is_launched(accelerator)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(104, "Connection reset by peer"),
        ConnectionRefusedError(111, "Connection refused"),
        EOFError(),
        RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "),
        RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"),
    ],
)
def test_however_the_death_of_a_worker_is_noticed_it_is_said(error):
    sentence = r"was killed, .* with fewer data\.workers"
    with pytest.raises(RecipeError, match=sentence), explained_deaths():
        raise error


@pytest.mark.parametrize("error", [BrokenPipeError(), RuntimeError("expected scalar type")])
def test_other_errors_stay_what_they_are(error):
    with pytest.raises(type(error)), explained_deaths():
        raise error


def test_attention_on_a_cpu_is_the_same_attention():
    query, key, value = torch.randn(3, 2, 4, 49, 16).unbind(0)
    attention = torch.nn.functional.scaled_dot_product_attention
    expected = attention(query, key, value)

    with fast_attention(torch.device("cpu")):
        torch.testing.assert_close(attention(query, key, value), expected)


def test_a_step_that_fails_leaves_torch_as_it_was():
    before = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()

    with pytest.raises(MemoryError), fast_attention(torch.device("cpu")):
        raise MemoryError

    assert torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed() == before


def test_a_configuration_of_accelerate_does_not_change_the_precision(monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert make_accelerator("cpu").mixed_precision == "no"


def test_which_device_trains_is_said(caplog):
    caplog.set_level("INFO")
    make_accelerator("cpu")
    assert "training on cpu, process 1 of 1" in caplog.messages


def test_a_device_that_torch_only_counts_is_refused_before_weeks_on_a_cpu(monkeypatch):
    monkeypatch.setattr(
        "training.loop.processes.why_unusable", lambda device: f"{device} is too old"
    )
    with pytest.raises(RecipeError, match=r"cpu is too old; .* device=cpu trains without it"):
        make_accelerator("cpu")


def test_a_gpu_that_is_wanted_and_not_found_is_said_before_weeks_on_a_cpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(RecipeError, match="device is cuda, but torch finds no GPU"):
        make_accelerator("cuda")


def test_a_gpu_that_is_wanted_and_kept_from_accelerate_is_said_before_weeks_on_a_cpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    with pytest.raises(RecipeError, match=r"accelerate is configured for cpu, .* --cpu`"):
        make_accelerator("cuda")


IN_TWO_PROCESSES = """
import datetime
import torch
from training.loop.processes import make_accelerator, same_in_all

accelerator = make_accelerator("cpu")
same = same_in_all(accelerator, 48, 6)
differ = same_in_all(accelerator, 48, accelerator.process_index)
assert (same, differ) == (True, False)
timeout = torch.distributed.group.WORLD._get_backend(accelerator.device).options._timeout
assert timeout == datetime.timedelta(hours=24)
accelerator.end_training()
"""


@pytest.mark.slow
def test_two_processes_notice_that_they_differ_and_wait_a_day_for_each_other(tmp_path):
    program = tmp_path / "in_two_processes.py"
    program.write_text(IN_TWO_PROCESSES)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ended = subprocess.run(
        [sys.executable, *launcher, str(program)], check=False, capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
