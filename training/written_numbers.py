"""Numbers as people read them."""


def counted(number: int, noun: str) -> str:
    """Return how many there are: "1 mask", "2 masks"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def signed(number: float, form: str = "+.2f") -> str:
    """Return a change as this format writes it; what rounds to nothing is +0, not -0."""
    written = format(number, form)
    return written if float(written.rstrip("%")) else format(0.0, form)
