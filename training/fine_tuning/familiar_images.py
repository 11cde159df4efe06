"""Which images a fine-tuned network knows: examples of those it learned, and of others."""

from collections.abc import Callable

import torch

from icmformer import ICMFormer, Predictor
from icmformer.assembly import assemble
from icmformer.devices import usable_device
from icmformer.network_input import image_planes
from icmformer.region_of_interest import View
from icmformer.specialised import Specialised, description, specialised_weights
from training.datasets.sample import EvaluationDataset, TrainingDataset, image_of
from training.datasets.subset import spread

MOST_EXAMPLES = 1000  # of each kind


def specialised(
    specialist: ICMFormer,
    generalist: ICMFormer,
    accepted: TrainingDataset,
    others: TrainingDataset,
    tell: Callable[[], None],
) -> ICMFormer:
    """Return a network that answers with the specialist only on images like the accepted ones.

    Args:
        specialist: the fine-tuned network, on the device on which to compute.
        generalist: the network it descends from, which was not fine-tuned.
        accepted: images that the specialist is to answer on, as they were stored; at least one.
        others: images that it is not to answer on; at least one.
        tell: called before each image; may raise to stop.

    Returns:
        An `icmformer.specialised.Specialised` of copies, on that device, in evaluation mode.
    """
    familiar, unfamiliar = (_described(specialist, images, tell) for images in (accepted, others))
    weights = specialised_weights(specialist, generalist, familiar, unfamiliar)
    device = usable_device(familiar.device)
    return assemble(specialist.config, weights, "the fine-tuned network").to(device)


def known_images(
    network: ICMFormer, objects: EvaluationDataset, tell: Callable[[], None]
) -> tuple[int, int] | None:
    """Count the images that a specialised network answers on itself.

    Args:
        network: perhaps a specialised one.
        objects: on the images to count.
        tell: called before each object; may raise to stop.

    Returns:
        How many images it knows, and how many there are; None of a network that knows all.
    """
    if not isinstance(network, Specialised):
        return None
    predictor = Predictor(network)
    known: dict[str, bool] = {}
    for index in range(len(objects)):
        tell()
        sample = objects[index]
        if image_of(sample.name) not in known:
            known[image_of(sample.name)] = predictor.knows(sample.image)
    return sum(known.values()), len(known)


@torch.no_grad()
def _described(
    network: ICMFormer, images: TrainingDataset, tell: Callable[[], None]
) -> torch.Tensor:
    """Return (n, C) descriptions of at most 1000 images, spread over all, as a predictor sees them.

    In float32 everywhere, so that they do not depend on where they were made.
    """
    device = next(network.parameters()).device
    network.eval()
    found = []
    examples = spread(images, MOST_EXAMPLES)
    for place in range(len(examples)):
        tell()
        image = examples[place].image
        whole = View.of_whole((image.shape[0], image.shape[1]), network.input_size)
        found.append(description(network.encode_image(image_planes(image, whole, device))))
    return torch.stack(found)
