"""Numbers of things, as people say them."""


def counted(number: int, noun: str) -> str:
    """Return how many there are: "1 mask", "2 masks"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
