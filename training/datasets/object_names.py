"""What an object of an image is called in score cards: "<image>#<object>"."""

_SEPARATOR = "#"


def object_name(image: str, number: object) -> str:
    """Return the name of an object; its number must hold no "#", the name of the image may."""
    return f"{image}{_SEPARATOR}{number}"


def image_of(name: str) -> str:
    """Return the image of an object; an object that is alone on its image bears its name."""
    return name.rpartition(_SEPARATOR)[0] or name
