"""What `python -m ml_backend work` says when it starts."""

import argparse
import contextlib
import itertools
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from ml_backend.commands import check_recipe, work
from ml_backend.errors import SettingsError
from ml_backend.learning.work_queue import open_queue
from ml_backend.settings import Settings
from tests.waiting import PATIENCE
from training.errors import RecipeError

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_worker_without_a_token_warns_that_it_learns_nothing(tmp_path, label_studio):
    environment = {
        "MODEL_DIR": str(tmp_path),
        "LABEL_STUDIO_URL": label_studio.url,
        "LABEL_STUDIO_API_KEY": "",
    }
    worker = subprocess.Popen(
        [sys.executable, "-m", "ml_backend", "work"],
        cwd=ROOT, env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    said = list(itertools.takewhile(lambda line: " working: " not in line, worker.stderr))
    worker.send_signal(signal.SIGTERM)
    worker.communicate(timeout=PATIENCE)
    assert any("nothing is learned from images that Label Studio keeps" in line for line in said)


@pytest.mark.parametrize("name", ["ICMFORMER_FINE_TUNE_RECIPE", "ICMFORMER_RETENTION_SET"])
def test_worker_does_not_start_where_its_jobs_would_fail(tmp_path, monkeypatch, name):
    monkeypatch.setenv("MODEL_DIR", str(tmp_path))
    monkeypatch.setenv(name, str(tmp_path / "nowhere"))
    with pytest.raises(SettingsError, match=f"{name} is .*nowhere, which does not exist"):
        work.run(argparse.Namespace())


@pytest.fixture
def written_recipe(tmp_path, monkeypatch):
    def write(text):
        (tmp_path / "recipe.yaml").write_text(text)
        monkeypatch.setenv("MODEL_DIR", str(tmp_path / "state"))
        monkeypatch.setenv("ICMFORMER_FINE_TUNE_RECIPE", str(tmp_path / "recipe.yaml"))

    return write


def test_worker_does_not_start_with_a_recipe_that_cannot_work(written_recipe):
    written_recipe("steps: 0\n")
    sentence = r"^ICMFORMER_FINE_TUNE_RECIPE: .*recipe\.yaml does not work: steps: "
    with pytest.raises(SettingsError, match=sentence):
        work.run(argparse.Namespace())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("stepz: 7\n", r"recipe\.yaml does not work: stepz is not a setting"),
        ("- steps\n", r"recipe\.yaml is not a YAML mapping"),
    ],
)
def test_a_recipe_is_checked_as_a_job_would_read_it(written_recipe, capsys, text, sentence):
    written_recipe(text)
    with pytest.raises(RecipeError, match=sentence):
        check_recipe.run(argparse.Namespace())
    written_recipe("steps: 7\n")
    assert check_recipe.run(argparse.Namespace()) == 0
    assert capsys.readouterr().out.endswith("recipe.yaml works\n")


def test_a_recipe_is_not_blamed_where_its_check_was_killed(written_recipe, tmp_path, monkeypatch):
    written_recipe("steps: 7\n")
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nkill -9 $$\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(SettingsError, match="was ended by SIGKILL, as the system does"):
        work.run(argparse.Namespace())


def test_worker_does_not_start_with_a_retention_set_without_images_and_masks(tmp_path, monkeypatch):
    (tmp_path / "set" / "images").mkdir(parents=True)
    monkeypatch.setenv("MODEL_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("ICMFORMER_RETENTION_SET", str(tmp_path / "set"))
    with pytest.raises(SettingsError, match=r"^ICMFORMER_RETENTION_SET: .* images and masks"):
        work.run(argparse.Namespace())


@pytest.mark.parametrize("folder", ["/proc", "/dev/null/state"])  # root may write elsewhere
def test_worker_says_in_one_sentence_that_it_cannot_store_anything(monkeypatch, folder):
    monkeypatch.setenv("MODEL_DIR", folder)
    place = f"write to MODEL_DIR {folder}, or name another folder"
    with pytest.raises(SettingsError, match=rf"^nothing can be stored: .*{place}[^\n]*$"):
        work.run(argparse.Namespace())


def test_worker_says_in_one_sentence_that_its_queue_is_down(tmp_path, monkeypatch):
    monkeypatch.setenv("MODEL_DIR", str(tmp_path))
    monkeypatch.setenv("ICMFORMER_QUEUE_URL", "redis://127.0.0.1:1/0")
    with pytest.raises(SettingsError, match=r"^the queue cannot be reached: [^\n]*$"):
        work.run(argparse.Namespace())


def test_worker_says_in_one_sentence_that_its_queue_cannot_be_written(tmp_path, monkeypatch):
    settings = Settings(model_dir=tmp_path, queue_url=None)
    open_queue(settings)
    with contextlib.closing(sqlite3.connect(settings.state_folder.queue)) as queue:
        refuse = "BEGIN SELECT RAISE(ABORT, 'attempt to write a readonly database'); END"
        queue.execute(f"CREATE TRIGGER no BEFORE INSERT ON kv {refuse}")
    monkeypatch.setenv("MODEL_DIR", str(tmp_path))
    with pytest.raises(SettingsError, match=r"^the queue cannot be [^\n]*readonly database[^\n]*$"):
        work.run(argparse.Namespace())
