"""A small network that was fine-tuned, beside the one it came from; both with random weights."""

import torch

from icmformer import ICMFormer, build_model
from icmformer.assembly import assemble
from icmformer.specialised import specialised_weights


def specialised_network(
    specialist: ICMFormer | None = None, familiar: float = 1.0, unfamiliar: float = 0.0
) -> ICMFormer:
    """Return one that knows whatever image is nearer to the one number than to the other."""
    specialist = build_model("tiny") if specialist is None else specialist
    examples = torch.zeros(2, specialist.config.cross_dim)
    no_window_is_too_large = 1e6
    weights = specialised_weights(
        specialist,
        build_model("tiny"),
        examples + familiar,
        examples + unfamiliar,
        no_window_is_too_large,
    )
    return assemble(specialist.config, weights, "a test")
