"""A data set's fingerprint follows its files, and nothing is written where it would change it."""

import os
import shutil

import pytest

from tests.training.shapes_recipe import a_recipe
from training import __main__ as command_line
from training.datasets.fingerprint import contents_fingerprint, files_fingerprint, require_outside
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


def test_a_fingerprint_of_contents_follows_these_and_no_dates(data):
    before = contents_fingerprint(data)
    mask = data / "masks" / "0.png"
    os.utime(mask, (1, 1))
    assert contents_fingerprint(data) == before
    content = mask.read_bytes()
    mask.write_bytes(content[:-1] + b"!")
    assert contents_fingerprint(data) != before
    mask.write_bytes(content)
    mask.rename(data / "masks" / "other.png")
    assert contents_fingerprint(data) != before


def test_a_file_whose_content_cannot_be_read_is_named(data):
    (data / "masks" / "lost.png").symlink_to(data / "gone.png")
    with pytest.raises(DatasetError, match=r"lost\.png: cannot be read: No such file"):
        contents_fingerprint(data)


def test_a_fingerprint_follows_the_files_of_linked_folders(data, tmp_path):
    elsewhere = (data / "images").rename(tmp_path / "photos")
    (data / "images").symlink_to(elsewhere)
    before = files_fingerprint(data)
    os.utime(next(elsewhere.iterdir()), (1, 1))
    changed = files_fingerprint(data)
    (elsewhere / "new.png").touch()
    assert len({before, changed, files_fingerprint(data)}) == 3


def test_a_fingerprint_does_not_follow_what_desktops_and_editors_leave(data):
    before = files_fingerprint(data)
    (data / "images" / ".DS_Store").touch()
    (data / "images" / "Thumbs.db").touch()
    (data / "images" / ".#0.png").symlink_to("ann@desk.4242:1700000000")  # as Emacs locks a file
    (data / ".ipynb_checkpoints").mkdir()
    (data / ".ipynb_checkpoints" / "0-checkpoint.png").touch()
    assert files_fingerprint(data) == before


def test_links_that_lead_back_are_not_followed_for_ever(data, tmp_path):
    alone = files_fingerprint(data)
    (data / "above").symlink_to(tmp_path)
    (data / "itself").symlink_to(data)
    assert files_fingerprint(data) == alone
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "back").symlink_to(data / "images")
    (data / "images" / "round").symlink_to(tmp_path / "other")
    assert files_fingerprint(data) == alone


def test_nothing_is_written_into_a_folder_that_a_data_set_links_to(data, tmp_path):
    elsewhere = (data / "images").rename(tmp_path / "photos")
    (data / "images").symlink_to(elsewhere)
    with pytest.raises(DatasetError, match=f"run {elsewhere / 'run'} lies in the data set {data}"):
        require_outside("run", elsewhere / "run", data)
    require_outside("run", tmp_path / "run", data)


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
        ["learning-curve", "--checkpoint", "any.safetensors", "--domain", "DATA"],
    ],
    ids=lambda command: command[0],
)
def test_results_are_written_into_no_data_set(data, monkeypatch, capsys, command):
    command = [text.replace("DATA", str(data)) for text in command]
    monkeypatch.setattr("sys.argv", ["training", *command, "--output", str(data / "out")])

    assert command_line.main() == 1
    assert f"--output {data / 'out'} lies in the data set {data}" in capsys.readouterr().err
    assert not (data / "out").exists()
