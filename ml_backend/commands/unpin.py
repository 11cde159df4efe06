"""`python -m ml_backend unpin`: let better candidates go live by themselves again."""

import argparse

from ml_backend.commands import live

add_arguments = live.add_arguments


def run(arguments: argparse.Namespace) -> int:
    """Move the pointer and print what is live now."""
    return live.move(arguments, "unpin")
