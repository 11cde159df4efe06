"""SBD's training images."""

import cv2
import numpy as np
import scipy.io

from training.datasets.sbd import SBDImages


def test_ragged_outlines_are_left_out(tmp_path):
    (tmp_path / "img").mkdir()
    (tmp_path / "inst").mkdir()
    instances = np.zeros((40, 40), np.uint8)
    instances[5:15, 5:15] = 1
    # Two specks in opposite corners cover far less than 8 % of their common box.
    instances[0, 0] = instances[39, 39] = 2
    cv2.imwrite(str(tmp_path / "img" / "2008_1.jpg"), np.zeros((40, 40, 3), np.uint8))
    scipy.io.savemat(tmp_path / "inst" / "2008_1.mat", {"GTinst": {"Segmentation": instances}})
    (tmp_path / "train.txt").write_text("2008_1\n")

    sample = SBDImages(tmp_path)[0]

    assert [sample.name] == SBDImages(tmp_path).names
    assert sample.objects == ((0, 1),)
    assert set(np.unique(sample.layers)) == {0, 1}
