"""COCO_MVal: 800 objects of COCO's validation images, ten a category (f-BRS 2020)."""

from pathlib import Path

from training.datasets.davis import anything_bright
from training.datasets.single_object import Layout, SingleObjectImages


def coco_mval(root: Path) -> SingleObjectImages:
    """Open COCO_MVal, which RITM's release packs like its DAVIS.

    Raises:
        DatasetError: if it is missing or half-unpacked.
    """
    return SingleObjectImages(root, LAYOUT)


LAYOUT = Layout(
    images="img",
    masks="gt",
    to_target=anything_bright,
    published_size=800,
    source="COCO_MVal.zip is linked from the README of RITM (SamsungLabs on GitHub)",
)
