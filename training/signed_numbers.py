"""Changes, as people read them: with their sign."""


def signed(number: float, form: str = "+.2f") -> str:
    """Return a number as this format writes it; what rounds to nothing is +0, not -0."""
    written = format(number, form)
    return written if float(written.rstrip("%")) else format(0.0, form)
