"""Tables for a terminal, and for Markdown."""

from collections.abc import Sequence


def text_table(rows: Sequence[Sequence[str]], names: int = 1) -> str:
    """Return rows of equal length, the header first, as lines of aligned columns.

    Args:
        rows: the cells.
        names: how many columns hold names, which stand to the left; numbers stand to the right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "".join(f"{_line(row, widths, names)}\n" for row in rows)


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of equal length, the header first, as a Markdown table."""
    header, *others = (f"| {' | '.join(row)} |\n" for row in rows)
    return "".join([header, "|" + "---|" * len(rows[0]) + "\n", *others])


def _line(row: Sequence[str], widths: Sequence[int], names: int) -> str:
    cells = [
        cell.ljust(width) if column < names else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()
