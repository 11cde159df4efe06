"""Berkeley (McGuinness & O'Connor 2010): 100 objects on 96 photos of BSDS."""

from pathlib import Path

from training.datasets.grabcut import object_beyond_unknown
from training.datasets.single_object import Layout, SingleObjectImages


def berkeley(root: Path) -> SingleObjectImages:
    """Open Berkeley in the layout of RITM's release; its masks read like GrabCut's.

    Raises:
        DatasetError: if it is missing or half-unpacked.
    """
    return SingleObjectImages(root, LAYOUT)


LAYOUT = Layout(
    images="images",
    masks="masks",
    to_target=object_beyond_unknown,
    published_size=100,
    source="Berkeley.zip is linked from the README of RITM (SamsungLabs on GitHub)",
)
