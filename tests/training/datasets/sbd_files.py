"""A small SBD, its .mat files packed as SBD's."""

import cv2
import numpy as np
import scipy.io


def write_sbd(root, instance_maps, names=None, split="val"):
    (root / "img").mkdir(parents=True)
    (root / "inst").mkdir()
    for name, instances in instance_maps.items():
        instances = np.array(instances, dtype=np.uint8)
        cv2.imwrite(str(root / f"img/{name}.jpg"), np.zeros((*instances.shape, 3), np.uint8))
        content = {"Segmentation": instances, "Boundaries": [0], "Categories": [0]}
        scipy.io.savemat(root / f"inst/{name}.mat", {"GTinst": content})
    (root / f"{split}.txt").write_text("\n".join(names or instance_maps), encoding="utf-8")
