"""Which images a fine-tuned network knows: examples of those it learned, and of others.

And how large the objects on the former are.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from icmformer import ICMFormer, Predictor
from icmformer.assembly import assemble
from icmformer.checked_input import image_size
from icmformer.devices import usable_device
from icmformer.network_input import image_planes
from icmformer.region_of_interest import View
from icmformer.specialised import Specialised, description, specialised_weights
from training.datasets.object_boxes import object_boxes
from training.datasets.sample import AnnotatedImage, EvaluationDataset, TrainingDataset
from training.datasets.subset import spread
from training.object_names import image_of

MOST_EXAMPLES = 1000  # of each kind
# A window that shows one of this share of the objects whole shows most of the others large enough.
_SHARE = 0.75


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
        accepted: images that the specialist is to answer on, as they were stored; at least one, and
            an object on it.
        others: images that it is not to answer on; at least one.
        tell: called before each image; may raise to stop.

    Returns:
        An `icmformer.specialised.Specialised` of copies, on that device, in evaluation mode.
    """
    specialist.eval()
    familiar, sides = [], list[int]()
    for example in _examples(accepted, tell):
        familiar.append(_described(specialist, example.image))
        sides += _object_sides(example)
    unfamiliar = [_described(specialist, example.image) for example in _examples(others, tell)]
    weights = specialised_weights(
        specialist,
        generalist,
        torch.stack(familiar),
        torch.stack(unfamiliar),
        float(np.quantile(sides, _SHARE)),
    )
    device = usable_device(familiar[0].device)
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


def known_object_side(network: ICMFormer) -> float | None:
    """Return how large the objects are that a specialised network learned; None of any other.

    In pixels of an image, which three quarters of their longer sides do not exceed.
    """
    return float(network.object_side) if isinstance(network, Specialised) else None


def _examples(images: TrainingDataset, tell: Callable[[], None]) -> Iterator[AnnotatedImage]:
    """Yield at most 1000 images, spread over all."""
    examples = spread(images, MOST_EXAMPLES)
    for place in range(len(examples)):
        tell()
        yield examples[place]


@torch.no_grad()
def _described(network: ICMFormer, image: np.ndarray) -> torch.Tensor:
    """Return the (C,) description of an image as a predictor sees it.

    In float32 everywhere, so that it does not depend on where it was made.
    """
    view = View.of_whole(image_size(image), network.input_size)
    planes = image_planes(image, view, next(network.parameters()).device)
    return description(network.encode_image(planes))


def _object_sides(annotated: AnnotatedImage) -> list[int]:
    """Return the longer side of each object's box, in pixels."""
    return [
        max(rows.stop - rows.start, columns.stop - columns.start)
        for rows, columns in object_boxes(annotated)
    ]
