"""What a backbone knows of an image before it sees a click."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from icmformer.cross_modality import KeysValues


@dataclass(frozen=True, eq=False)
class ImageFeatures:
    """The half of the network that depends on the image crop alone; keep it between clicks.

    Valid for the model, the weights, the crop and the precision it was computed with. Computed
    without gradients it holds no graph.

    Attributes:
        size_hw: height and width of the image, in pixels.
        tokens: the image stream where it meets the clicks; the layout is the backbone's own.
        embedding: the embedded patches, (B, H/4, W/4, C) (Swin's skip stream needs them), or None.
        keys_values: what each cross-modality block reads of the image; empty where the image is
            the guided stream.
    """

    size_hw: tuple[int, int]
    tokens: torch.Tensor
    embedding: torch.Tensor | None
    keys_values: tuple[KeysValues, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors together, for caches that are bounded in bytes."""
        return sum(tensor.nbytes for tensor in self._tensors())

    def _tensors(self) -> Iterator[torch.Tensor]:
        yield self.tokens
        if self.embedding is not None:
            yield self.embedding
        for keys, values in self.keys_values:
            yield keys
            yield values
