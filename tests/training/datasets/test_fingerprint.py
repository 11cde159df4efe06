"""A data set's fingerprint follows its files, and nothing is written where it would change it."""

import os
import shutil

import pytest

from tests.training.shapes_recipe import a_recipe
from training import __main__ as command_line
from training.datasets.fingerprint import files_fingerprint
from training.errors import DatasetError
from training.loop.training_data import open_mixture


@pytest.fixture
def data(shapes, tmp_path):
    return shutil.copytree(shapes, tmp_path / "data")


def test_a_fingerprint_follows_files_and_not_where_they_lie(data, tmp_path):
    before = files_fingerprint(data)
    moved = data.rename(tmp_path / "moved")
    assert files_fingerprint(moved) == before
    os.utime(moved / "masks" / "0.png", (1, 1))
    assert files_fingerprint(moved) != before


@pytest.mark.parametrize("written", ["run", "data.cache"])
def test_a_training_that_decodes_writes_into_no_data_set(data, tmp_path, written):
    (tmp_path / "link").symlink_to(data)
    inside = tmp_path / "link" / "deeper"
    run, cache = (
        inside if written == setting else tmp_path / setting for setting in ("run", "data.cache")
    )
    settings = {"root": tmp_path, "parts": [{"path": "data"}], "cache": cache}

    with pytest.raises(DatasetError, match=f"{written} {inside} lies in the data set {data}"):
        open_mixture(a_recipe(data, run, data=settings))


@pytest.mark.parametrize(
    "command",
    [
        ["benchmark", "--baseline", "grabcut", "folder:DATA"],
        ["learning-curve", "--checkpoint", "any.safetensors", "--data", "DATA"],
    ],
    ids=lambda command: command[0],
)
def test_results_are_written_into_no_data_set(data, monkeypatch, capsys, command):
    command = [text.replace("DATA", str(data)) for text in command]
    monkeypatch.setattr("sys.argv", ["training", *command, "--output", str(data / "out")])

    assert command_line.main() == 1
    assert f"--output {data / 'out'} lies in the data set {data}" in capsys.readouterr().err
    assert not (data / "out").exists()
