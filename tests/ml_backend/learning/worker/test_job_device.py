"""A job says in its log where it trains, if that is not where people expect."""

from dataclasses import replace

import pytest
import torch

from ml_backend.learning.job_runner import run_job
from ml_backend.serving import loaded_model
from tests.ml_backend.learning.worker.disc_tasks import PROJECT


@pytest.fixture
def said(learning, tmp_path, monkeypatch, caplog):
    """Run a job of a project without masks, on a machine with a GPU that torch cannot use."""
    monkeypatch.setattr(
        "ml_backend.learning.job_runner.LOWEST_PRIORITY", 0
    )  # the other tests go on
    monkeypatch.setattr(loaded_model, "NVIDIA_DRIVER", tmp_path / "version")
    monkeypatch.setattr(loaded_model, "why_unusable", lambda device: "its driver is too old")
    threads = torch.get_num_threads()

    def run(device):
        changed = replace(
            learning, settings=learning.settings.model_copy(update={"device": device})
        )
        learning.jobs.request(PROJECT, "Start training")
        caplog.clear()
        run_job(changed, learning.jobs.claim("worker"))
        return [line for line in caplog.messages if "GPU" in line]

    yield run
    torch.set_num_threads(threads)


def test_a_job_that_falls_back_to_the_cpu_says_why(said, tmp_path):
    assert said("auto") == [], "nobody expects a GPU where there is none"
    (tmp_path / "version").touch()
    assert said("auto") == [
        "job 2: torch cannot use the GPU of this machine, so it trains on the CPU: "
        "its driver is too old"
    ]
    assert said("cpu") == []
