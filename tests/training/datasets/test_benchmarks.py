"""Benchmarks are opened by name, wherever below the data folder they lie."""

import pickle

import cv2
import numpy as np
import pytest

from tests.training.datasets.test_sbd import write_sbd
from training import __main__ as command_line
from training.datasets.benchmarks import open_benchmark, published_size
from training.errors import DatasetError


def write_berkeley(root):
    for folder, suffix in [("images", "jpg"), ("masks", "png")]:
        (root / folder).mkdir(parents=True)
        cv2.imwrite(str(root / f"{folder}/a.{suffix}"), np.full((2, 2), 255, np.uint8))


@pytest.mark.parametrize("place", ["Berkeley", "benchmarks/Berkeley"])
def test_a_benchmark_lies_in_the_data_folder_or_in_its_benchmarks(tmp_path, place):
    write_berkeley(tmp_path / place)

    dataset = open_benchmark("Berkeley", tmp_path)

    assert (len(dataset), published_size("Berkeley")) == (1, 100)


def test_an_opened_benchmark_travels_to_other_processes(tmp_path):
    write_berkeley(tmp_path / "Berkeley")

    copy = pickle.loads(pickle.dumps(open_benchmark("Berkeley", tmp_path)))

    assert copy[0].name == "a"


@pytest.mark.parametrize("told", [True, False])
def test_a_folder_of_instance_ids_gives_one_sample_an_object(tmp_path, monkeypatch, told):
    """Its path is below the data folder, or below the current one where no data folder is said."""
    if not told:
        monkeypatch.chdir(tmp_path)
    (tmp_path / "cells/images").mkdir(parents=True)
    (tmp_path / "cells/masks").mkdir()
    cv2.imwrite(str(tmp_path / "cells/images/a.png"), np.zeros((2, 3, 3), np.uint8))
    ids = np.array([[1, 0, 2], [255, 0, 2]], dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "cells/masks/a.png"), ids)

    dataset = open_benchmark("folder:cells", tmp_path if told else None)

    assert [sample.target.tolist() for sample in dataset] == [
        [[1, 0, 0], [-1, 0, 0]],
        [[0, 0, 1], [-1, 0, 1]],
    ]


@pytest.mark.parametrize("command", ["benchmark", "click-feel"])
def test_the_help_says_so(command, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["training", command, "--help"])

    with pytest.raises(SystemExit, match="0"):
        command_line.main()

    assert "a relative folder:PATH is below it" in " ".join(capsys.readouterr().out.split())


def test_a_folder_without_any_object_is_refused(tmp_path):
    for part in ("images", "masks"):
        (tmp_path / "cells" / part).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "cells" / part / "a.png"), np.zeros((2, 3), np.uint8))

    with pytest.raises(DatasetError, match="cells holds no object to click on: number"):
        open_benchmark("folder:cells", tmp_path)


@pytest.mark.parametrize("images", [{}, {"2008_1": [[0, 0]]}], ids=["no image", "no object"])
def test_so_is_sbd(tmp_path, images):
    write_sbd(tmp_path / "SBD", images)

    with pytest.raises(DatasetError, match="SBD holds no object to click on: unpack it again"):
        open_benchmark("SBD", tmp_path)


def test_a_misspelt_name_is_answered_with_the_known_ones(tmp_path):
    with pytest.raises(DatasetError, match="no benchmark 'Grabcut'; known: GrabCut, Berkeley"):
        open_benchmark("Grabcut", tmp_path)


def test_a_benchmark_needs_the_data_folder():
    with pytest.raises(
        DatasetError, match="where is GrabCut\\? Give --data, the folder that holds"
    ):
        open_benchmark("GrabCut", None)
