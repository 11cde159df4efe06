"""`python -m ml_backend promote VERSION`: make a version live, whatever the gate said."""

import argparse

from ml_backend.commands import live


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("version", type=int, help="its number, see the command versions")
    live.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Move the pointer and print what is live now; a damaged version is refused."""
    return live.move(arguments, "promote", arguments.version)
