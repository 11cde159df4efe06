"""The terminal that the commands print to."""

import io
import sys


def print_in_any_encoding() -> None:
    """Let a terminal of another encoding show ? for what it has no letter for, as in a title.

    Standard error writes such letters as escapes by itself.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
