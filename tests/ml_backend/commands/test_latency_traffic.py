"""The made-up Label Studio of `python -m ml_backend latency`: which photos it has."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image

from ml_backend import __main__ as command_line
from ml_backend.commands.latency_traffic import image_server
from ml_backend.errors import LocalServerError

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", ["a.jpg", "a.JPG", "my cat.jpeg", "ä#1.png", "a.PNG"])
def test_a_photo_becomes_three_images(tmp_path, name):
    Image.fromarray(np.zeros((20, 30, 3), dtype=np.uint8)).save(tmp_path / name)
    (tmp_path / "LICENSES.md").write_text("mine")
    with image_server(tmp_path) as (paths, address):
        assert len(paths) == 3
        for path in paths:
            assert requests.get(address + path, timeout=5).content.startswith(b"\xff\xd8")


def test_photos_that_differ_in_their_ending_alone_are_two(tmp_path):
    for name in ("a.jpg", "a.png"):
        Image.fromarray(np.zeros((20, 30, 3), dtype=np.uint8)).save(tmp_path / name)
    with image_server(tmp_path) as (paths, _):
        assert len(paths) == 6


@pytest.mark.parametrize("folder", ["empty", "missing"])
def test_a_folder_without_photos_is_named_with_what_to_give(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    command = [sys.executable, "-m", "ml_backend", "latency", "--images", str(tmp_path / folder)]
    refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith(f"{tmp_path / folder} has no photos (.jpg, .jpeg, .png)")
    assert "give --images" in refused.stderr


def test_a_photo_that_is_none_is_named(tmp_path):
    (tmp_path / "a.jpg").write_text("no photo")
    with pytest.raises(LocalServerError, match=r"a\.jpg cannot be read"), image_server(tmp_path):
        pass


@pytest.mark.parametrize("seconds", ["0", "-3", "nan", "inf", "soon"])
def test_seconds_that_are_none_are_refused(monkeypatch, capsys, seconds):
    monkeypatch.setattr("sys.argv", ["ml_backend", "latency", f"--seconds={seconds}"])
    with pytest.raises(SystemExit):
        command_line.main()
    assert f"{seconds} is not a number of seconds above 0" in capsys.readouterr().err
