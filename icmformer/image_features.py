"""What a backbone knows of an image before it sees a click."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from icmformer.cross_modality import KeysValues
from icmformer.errors import InputError


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

    def for_batch(self, size: int) -> "ImageFeatures":
        """Return features that fit a batch of clicks of this size: of one image, for each of them.

        Raises:
            InputError: if they are of several images, but not of as many.
        """
        known = len(self.tokens)
        if known == size:
            return self
        if known != 1:
            raise InputError(f"{size} images of clicks do not fit features of {known} images")
        return ImageFeatures(
            self.size_hw,
            _repeated(self.tokens, size),
            None if self.embedding is None else _repeated(self.embedding, size),
            tuple(
                (_repeated(keys, size), _repeated(values, size))
                for keys, values in self.keys_values
            ),
        )

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


def _repeated(tensor: torch.Tensor, count: int) -> torch.Tensor:
    """Repeat all of a tensor along its first axis, which may be the windows of one image."""
    return tensor.expand(count, *tensor.shape).flatten(0, 1)
