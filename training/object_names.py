"""What an object is called beside its image, and which image the name is about."""

_SEPARATOR = "#"


def object_name(image: str, number: object) -> str:
    """Return what an object is called in score cards: ``<image>#<number>``.

    Its number must hold no "#", the name of the image may.
    """
    return f"{image}{_SEPARATOR}{number}"


def image_of(name: str) -> str:
    """Return the image of an object; an object that is alone on its image bears its name."""
    return name.rpartition(_SEPARATOR)[0] or name
