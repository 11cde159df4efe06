"""Where a job trains, and with how much of the machine."""

import errno
import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from ml_backend.learning import job_runner
from ml_backend.learning.job_runner import run_job
from ml_backend.serving import loaded_model
from tests.ml_backend.learning.worker.disc_tasks import PROJECT
from training.errors import DatabaseError


@pytest.fixture
def given_way(monkeypatch):
    """By how much each job gave way to others; it does not here, because the other tests go on."""
    priorities = []
    monkeypatch.setattr(os, "nice", priorities.append)
    threads = torch.get_num_threads()
    yield priorities
    torch.set_num_threads(threads)


@pytest.fixture
def said(learning, given_way, tmp_path, monkeypatch, caplog):
    """Run a job of a project without masks, on a machine with a GPU that torch cannot use."""
    monkeypatch.setattr(loaded_model, "NVIDIA_DRIVERS", (tmp_path / "version",))
    monkeypatch.setattr(loaded_model, "why_unusable", lambda device: "its driver is too old")

    def run(device):
        changed = replace(
            learning, settings=learning.settings.model_copy(update={"device": device})
        )
        learning.jobs.request(PROJECT, "Start training")
        caplog.clear()
        run_job(changed, learning.jobs.claim("worker"))
        return [line for line in caplog.messages if "GPU" in line]

    return run


def test_a_job_that_falls_back_to_the_cpu_says_why(said, tmp_path):
    assert said("auto") == [], "nobody expects a GPU where there is none"
    (tmp_path / "version").touch()
    assert said("auto") == [
        "job 2: torch cannot use the GPU of this machine, so it trains on the CPU: "
        "its driver is too old"
    ]
    assert said("cpu") == []


@pytest.mark.parametrize("take", [torch.empty, np.empty], ids=["torch", "numpy"])
def test_a_job_that_the_machine_has_no_memory_for_says_what_to_do(
    learning, given_way, monkeypatch, take
):
    monkeypatch.setattr(job_runner, "improve", lambda *_: take(10**15))
    job = learning.jobs.request(PROJECT, "Start training")
    run_job(learning, learning.jobs.claim("worker"))
    message = learning.jobs.get(job).message
    assert message.startswith("this machine has too little memory: ")
    assert "batch_size" in message


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_job_that_the_disk_is_full_for_says_what_to_do(
    learning, given_way, monkeypatch, caplog, number
):
    def fill(*_):
        raise OSError(number, "No space left on device", "state.pt")

    monkeypatch.setattr(job_runner, "improve", fill)
    job = learning.jobs.request(PROJECT, "Start training")
    run_job(learning, learning.jobs.claim("worker"))
    message = learning.jobs.get(job).message
    assert message.startswith("the disk of MODEL_DIR is full: free some GB")
    (logged,) = [record for record in caplog.records if "failed" in record.message]
    assert logged.message == f"job {job} failed: {message}"
    assert not logged.exc_info


def test_a_job_whose_gpu_failed_says_so_in_one_line(learning, given_way, monkeypatch):
    def fail(*_):
        raise torch.AcceleratorError("CUDA error: unspecified launch failure\nSearch for `cuda…'")

    monkeypatch.setattr(job_runner, "improve", fail)
    job = learning.jobs.request(PROJECT, "Start training")
    run_job(learning, learning.jobs.claim("worker"))
    said = "the GPU failed (CUDA error: unspecified launch failure): if it does so again, look"
    assert learning.jobs.get(job).message == f"{said} at its driver"


def test_a_job_goes_on_where_it_was_once_its_database_is_back(
    learning, given_way, monkeypatch, caplog
):
    monkeypatch.setattr(job_runner, "OUTAGE_SECONDS", (0, 0))
    away = [DatabaseError("the database cannot be used: connection refused")] * 2
    improve = job_runner.improve

    def improve_once_it_is_back(*arguments):
        if away:
            raise away.pop()
        return improve(*arguments)

    monkeypatch.setattr(job_runner, "improve", improve_once_it_is_back)
    job = learning.jobs.request(PROJECT, "Start training")
    run_job(learning, learning.jobs.claim("worker"))
    assert learning.jobs.get(job).state == "finished"
    assert f"job {job} goes on where it was" in caplog.text


@pytest.mark.parametrize(("wanted", "cores", "threads"), [(3, 8, 3), (0, 10, 5), (0, 1, 1)])
def test_a_job_leaves_half_the_cores_to_clicks_or_what_was_set(
    learning, given_way, monkeypatch, wanted, cores, threads
):
    monkeypatch.setattr(job_runner, "usable_cores", lambda: cores)
    settings = learning.settings.model_copy(update={"fine_tune_threads": wanted})
    learning.jobs.request(PROJECT, "Start training")
    run_job(replace(learning, settings=settings), learning.jobs.claim("worker"))
    assert torch.get_num_threads() == threads
    assert given_way == [19]
