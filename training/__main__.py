"""Command line of the package: `python -m training COMMAND …`."""

import logging
import sys

from training.command_line import Program

PROGRAM = Program(
    "training",
    __doc__,
    {
        "train": "train a network from a recipe",
        "export": "make the weights of a training ready to ship",
        "convert-coco-lvis": "make COCO+LVIS from COCO and LVIS",
        "benchmark": "count the clicks that networks need, and report",
        "click-feel": "see what happens around each click",
        "learning-curve": "measure what accepted masks are worth",
        "cost": "parameters, FLOPs and seconds per click of every variant",
    },
    "install this project with its extra, pip install 'PATH/TO/THE/PROJECT[training]'",
)


def main() -> int:
    """Run the command that is asked for; return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return PROGRAM.main()


if __name__ == "__main__":
    sys.exit(main())
