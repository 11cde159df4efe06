"""A demo that is told to serve what nothing can load refuses before it starts anything."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ml_backend.demo.given_checkpoint import require_whole
from ml_backend.errors import LocalServerError
from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[3]


@pytest.fixture
def copy(tmp_path, checkpoint):
    """A checkpoint of the test's own."""
    weights = tmp_path / "mine.safetensors"
    shutil.copy(checkpoint, weights)
    shutil.copy(checkpoint.with_suffix(".json"), weights.with_suffix(".json"))
    return weights


def remove(weights):
    weights.unlink()


def forget_the_description(weights):
    weights.with_suffix(".json").unlink()


def truncate(weights):
    weights.write_bytes(weights.read_bytes()[:-1])


def describe_otherwise(text):
    return lambda weights: weights.with_suffix(".json").write_text(text)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (remove, "There is no checkpoint {}."),
        (forget_the_description, "The description of {} is missing: put mine.json"),
        (truncate, "{} is truncated or altered, or mine.json belongs to other weights"),
        (describe_otherwise("{"), "{folder}/mine.json is no description of a checkpoint"),
        (describe_otherwise("[]"), "{folder}/mine.json is no description of a checkpoint"),
        (describe_otherwise("{}"), "{folder}/mine.json is no description of a checkpoint"),
        (describe_otherwise("[" * 99999), "{folder}/mine.json is no description of a checkpoint"),
    ],
)
def test_what_is_missing_or_damaged_is_said(copy, damage, sentence):
    require_whole(copy)
    damage(copy)
    with pytest.raises(LocalServerError) as refused:
        require_whole(copy)
    assert str(refused.value).startswith(sentence.format(copy, folder=copy.parent))


def test_a_file_of_the_authors_is_to_be_converted(tmp_path):
    theirs = tmp_path / "theirs.pth"
    theirs.touch()
    with pytest.raises(LocalServerError, match=rf"training export --checkpoint {theirs}"):
        require_whole(theirs)


def test_the_demo_makes_nothing_before_it_refuses(copy, tmp_path):
    truncate(copy)
    data = ("--data-dir", str(tmp_path / "data"), "--checkpoint", str(copy))
    command = ("demo", *data, "--label-studio", sys.executable)
    refused = subprocess.run(
        [sys.executable, "-m", "ml_backend", *command],
        cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith(f"{copy} is truncated or altered")
    assert not (tmp_path / "data").exists()
