"""What one look of the network gave, while a click is being answered."""

from dataclasses import dataclass, replace

import numpy as np

from icmformer.region_of_interest import RegionOfInterest
from icmformer.segmentation import AnsweringNetwork, CropFeatures, Segmentation


@dataclass(frozen=True, eq=False)
class Look:
    """A segmentation in the making.

    Its probability is its own and is corrected in place: at 24 megapixels a copy takes as long as
    the network.

    Attributes:
        probability: (H, W) float32 in [0, 1]; H and W of the image.
        region: what was looked at.
        network: that looked.
        features: of the region.
    """

    probability: np.ndarray
    region: RegionOfInterest
    network: AnsweringNetwork | None
    features: CropFeatures

    def as_answer(self, before: Segmentation) -> Segmentation:
        """Return what `before` has become; nothing may be written to the probability any more."""
        return replace(
            before, probability=self.probability, region=self.region, features=self.features
        )
