"""What is quoted of a request in sentences, log lines and pages: as much as a person reads.

Whoever sends a request chooses how long names are, and how many.
"""

from collections.abc import Collection
from itertools import islice

LONGEST_NAME = 80
MOST_NAMES = 10


def shortened(text: str, most: int = LONGEST_NAME) -> str:
    """Return a text, cut with an ellipsis where it has more than `most` characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def listed(names: Collection[str], mark: str = "") -> str:
    """Return the first ten names, each shortened and between marks, and how many more there are."""
    first = islice(names, MOST_NAMES)
    text = ", ".join(f"{mark}{shortened(name)}{mark}" for name in first)
    more = len(names) - MOST_NAMES
    return f"{text} and {more} more" if more > 0 else text
