"""A network that was fine-tuned on some images, and the one that goes on answering on all others.

What fine-tuning teaches a network of one kind of image it pays for on others. So a fine-tuned
network brings the one along that its line began with, and examples of the images it is for and of
others: an image is answered by the fine-tuned one if it looks like the former, and otherwise as if
nothing had been learned (Aljundi et al., *Expert Gate*, CVPR 2017, with the nearest example in
place of autoencoders). It knows how large the objects on the former are, too: in a large image
nothing else tells at which size to look for what was clicked.
"""

from collections.abc import Mapping

import torch

from icmformer.config import ModelConfig
from icmformer.image_features import ImageFeatures
from icmformer.model import ICMFormer, network_without_weights

# An image between the two is one of the project's, for whom the network was fine-tuned.
_BENEFIT_OF_THE_DOUBT = 1.1
_FLAT = 1e-6  # what a channel varies by at least
# Their names among the weights.
FAMILIAR, UNFAMILIAR, OBJECT_SIDE = "familiar", "unfamiliar", "object_side"


class Specialised(ICMFormer):
    """The fine-tuned network, which as a module and in `forward` is an ordinary one.

    Attributes:
        generalist: answers on images that are not like familiar ones; of the same configuration.
        familiar: (n, C) descriptions of images it is for, learned or not; see `description`.
        unfamiliar: (m, C) of other images.
        object_side: () pixels of an image, which the longer sides of three quarters of the objects
            on familiar images do not exceed.
    """

    familiar: torch.Tensor
    unfamiliar: torch.Tensor
    object_side: torch.Tensor

    def __init__(self, config: ModelConfig, familiar: int, unfamiliar: int) -> None:
        """Build both networks, and room for so many descriptions of each kind."""
        super().__init__(config)
        self.generalist = ICMFormer(config)
        self.register_buffer("familiar", torch.zeros(familiar, config.cross_dim))
        self.register_buffer("unfamiliar", torch.zeros(unfamiliar, config.cross_dim))
        self.register_buffer("object_side", torch.zeros(()))

    def knows(self, features: ImageFeatures) -> bool:
        """Say whether an image is more like the familiar ones than like the others.

        Args:
            features: of the whole image, by this network's own `encode_image`.
        """
        scale = torch.cat([self.familiar, self.unfamiliar]).std(0, correction=0) + _FLAT
        seen = description(features)
        to_familiar, to_unfamiliar = (
            ((examples - seen) / scale).square().mean(1).sqrt().min()
            for examples in (self.familiar, self.unfamiliar)
        )
        return bool(to_familiar <= _BENEFIT_OF_THE_DOUBT * to_unfamiliar)


def description(features: ImageFeatures) -> torch.Tensor:
    """Return (C,) float32: what the image stream says where it meets the clicks, on average.

    Args:
        features: of one whole image, or of it and its mirror image.
    """
    return features.tokens.float().flatten(0, -2).mean(0)


def specialist_of(network: ICMFormer) -> ICMFormer:
    """Return the fine-tuned network alone, to train it further; one that is not specialised as is.

    Its weights are those of `network`, not copies.
    """
    if not isinstance(network, Specialised):
        return network
    alone = network_without_weights(network.config)
    weights = network.state_dict()
    alone.load_state_dict({name: weights[name] for name in alone.state_dict()}, assign=True)
    return alone.to(network.familiar.device).eval()


def generalist_of(network: ICMFormer) -> ICMFormer:
    """Return the network that answers on unfamiliar images: of one not specialised itself."""
    return network.generalist if isinstance(network, Specialised) else network


def specialised_weights(
    specialist: ICMFormer,
    generalist: ICMFormer,
    familiar: torch.Tensor,
    unfamiliar: torch.Tensor,
    object_side: float,
) -> Mapping[str, torch.Tensor]:
    """Return the weights of all of it by their names, for `icmformer.assembly.assemble`."""
    return {
        **specialist.state_dict(),
        **{f"generalist.{name}": tensor for name, tensor in generalist.state_dict().items()},
        FAMILIAR: familiar,
        UNFAMILIAR: unfamiliar,
        OBJECT_SIDE: torch.tensor(object_side),
    }
