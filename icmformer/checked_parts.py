"""What a predictor is made of, checked before it is asked anything."""

from dataclasses import replace

import torch

from icmformer.click_network import ClickNetwork
from icmformer.errors import ConfigError
from icmformer.model import ICMFormer
from icmformer.repeated_zoom_in import RepeatedZoomIn
from icmformer.zoom_in import ZoomIn


def check_network(model: ClickNetwork) -> None:
    """Refuse what is no network, such as the path of one.

    Raises:
        ConfigError: if it is none.
    """
    asked_for = [name for name in vars(ClickNetwork) if not name.startswith("_")]
    if not all(hasattr(model, name) for name in asked_for):
        raise ConfigError(
            "a predictor needs a network, such as load_checkpoint(path) returns, this is a "
            f"{type(model).__name__}"
        )
    if not any(True for _ in model.parameters()):
        raise ConfigError(
            f"the network, a {type(model).__name__}, has no parameters: give it one, which says on "
            "which device to compute"
        )


def check_zoom(zoom: ZoomIn | RepeatedZoomIn, model: ClickNetwork) -> None:
    """Refuse what is no zoom, such as a size, and a size that the network cannot work with.

    Raises:
        ConfigError: if it is none, or the network refuses its size.
    """
    if not isinstance(zoom, ZoomIn | RepeatedZoomIn):
        raise ConfigError(
            f"zoom_in needs to be a zoom, such as RepeatedZoomIn((448, 448)), not {zoom!r}"
        )
    if isinstance(model, ICMFormer):
        height, width = map(int, zoom.input_size)
        replace(model.config, input_size=(height, width))  # refuses it


def check_weights(model: ClickNetwork, in_bf16: bool) -> None:
    """Refuse weights of a type that the images, which are float32, cannot be multiplied with.

    Raises:
        ConfigError: if there are such.
    """
    fitting = {torch.float32, torch.bfloat16} if in_bf16 else {torch.float32}
    for kind in {weights.dtype for weights in model.parameters()} - fitting:
        raise ConfigError(
            f"a network with weights of {kind} cannot answer in {'bf16' if in_bf16 else 'fp32'}: "
            "convert it with model.float()"
        )
