"""What is loaded, and where it computes."""

import numpy as np
import pytest

from icmformer import Click
from icmformer.errors import CheckpointError
from ml_backend.errors import SettingsError
from ml_backend.serving.loaded_model import choose_device, load_version
from ml_backend.serving.versions import Version, version_of_file

IMAGE = np.full((40, 50, 3), 90, np.uint8)


def test_untrained_network_is_the_same_in_every_process():
    untrained = Version("untrained", None)
    assert not untrained.trained
    clicks = [Click(20, 20, True)]
    one, other = (load_version(untrained, "cpu", lambda: None).predictor("7") for _ in "ab")
    np.testing.assert_array_equal(
        one.segment(IMAGE, clicks).probability, other.segment(IMAGE, clicks).probability
    )


def test_a_version_is_at_home_in_the_project_whose_masks_it_learned(tmp_path):
    model = load_version(Version("untrained", None, project="7"), "cpu", lambda: None)
    assert model.predictor("7") is model.at_home
    assert model.predictor("8") is model.predictor("") is model.elsewhere
    of_nobody = load_version(Version("untrained", None), "cpu", lambda: None)
    assert of_nobody.predictor("") is of_nobody.elsewhere


def test_file_that_is_no_checkpoint_is_named(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match=r"x\."):
        load_version(version_of_file(path), "cpu", lambda: None)


def test_device_must_exist():
    assert choose_device("cpu") == ("cpu", None)
    assert choose_device("auto")[0] in ("cpu", "cuda")
    with pytest.raises(SettingsError, match="is cuda:99: torch cannot compute on 'cuda:99'"):
        choose_device("cuda:99")
