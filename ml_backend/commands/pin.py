"""`python -m ml_backend pin`: keep what is live until a person moves it."""

import argparse

from ml_backend.commands import live

add_arguments = live.add_arguments


def run(arguments: argparse.Namespace) -> int:
    """Move the pointer and print what is live now."""
    return live.move(arguments, "pin")
