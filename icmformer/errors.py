"""What can go wrong in this package.

ICMFormerError
├── ConfigError      a model configuration that cannot be built
├── CheckpointError  a file that is not a usable checkpoint
└── InputError       an image, click or mask the predictor cannot work with
"""


class ICMFormerError(Exception):
    """Base of every error this package raises on purpose; its text is one sentence for people."""


class ConfigError(ICMFormerError):
    """The configuration names something unknown or combines what does not fit."""


class CheckpointError(ICMFormerError):
    """The file is missing, damaged, or describes something this version cannot load."""


class InputError(ICMFormerError):
    """An image, click or mask has the wrong shape, type or range."""
