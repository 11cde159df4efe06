"""Command line of the package: `python -m training COMMAND …`."""

import argparse
import importlib
import logging
import sys
from types import ModuleType

from training.exit_status import exit_status
from training.terminal import print_in_any_encoding

# Each is a module of training.commands with add_arguments(parser) and run(arguments).
COMMANDS = {
    "train": "train a network from a recipe",
    "export": "make the weights of a training ready to ship",
    "convert-coco-lvis": "make COCO+LVIS from COCO and LVIS",
    "benchmark": "count the clicks that networks need, and report",
    "click-feel": "see what happens around each click",
    "learning-curve": "measure what accepted masks are worth",
    "cost": "parameters, FLOPs and seconds per click of every variant",
}


def main() -> int:
    """Run the command that is asked for; return the exit status."""
    print_in_any_encoding()
    return exit_status(_run)


def _run() -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        # Only the module of the command that runs is imported: some are slow to import.
        subparser = subparsers.add_parser(name, help=summary)
        if name in sys.argv[1:2]:
            module_of(name).add_arguments(subparser)
    arguments = parser.parse_args()
    module_of(arguments.command).run(arguments)
    return 0


def module_of(command: str) -> ModuleType:
    """Import the module of a command, which may take seconds."""
    return importlib.import_module(f"training.commands.{command.replace('-', '_')}")


if __name__ == "__main__":
    sys.exit(main())
