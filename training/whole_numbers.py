"""Whole numbers that are given on a command line; each function is a `type` for argparse."""

import argparse


def positive(text: str) -> int:
    """Read a whole number from 1.

    Raises:
        argparse.ArgumentTypeError: if it is none.
    """
    return _from(1, text)


def natural(text: str) -> int:
    """Read a whole number from 0.

    Raises:
        argparse.ArgumentTypeError: if it is none.
    """
    return _from(0, text)


def _from(least: int, text: str) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from {least}")
    return int(text)
