"""What fetching an image may cost, and how soon one that failed is fetched again."""

from dataclasses import dataclass

# Each click on an image that does not come would hold a thread for as long as the one before it.
NOT_ASKED_AGAIN_SECONDS = 10.0


@dataclass(frozen=True)
class ImageLimits:
    """What an image may cost.

    Attributes:
        max_bytes: of the file.
        max_pixels: of the decoded image.
        connect_seconds: until a server accepts the connection.
        read_seconds: between two pieces of the file, and until an answer has begun.
        total_seconds: for the whole file, with all redirects.
        allowed_hosts: hosts that may be visited although their address is not public, as `host` or
            `host:port` in lower case.
    """

    max_bytes: int = 200 << 20
    max_pixels: int = 100_000_000
    connect_seconds: float = 5.0
    read_seconds: float = 20.0
    total_seconds: float = 60.0
    allowed_hosts: frozenset[str] = frozenset()
