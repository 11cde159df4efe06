"""Fetching an image file over HTTP: never too long, never too large, never from where it may not.

Task data may name any address; see `ml_backend.images.guarded_connections` for which are visited.
"""

import io
import math
from typing import Any
from urllib.parse import urljoin

import requests
from urllib3.exceptions import HTTPError

from ml_backend.errors import TaskImageError
from ml_backend.images.guarded_connections import (
    WayOut,
    hung_up_after,
    is_public,
    link_local_fault,
)
from ml_backend.images.image_limits import ImageLimits
from ml_backend.images.image_wait import ImageWait, large_places
from ml_backend.label_studio.no_answer import reason

_CHUNK_BYTES = 1 << 16
_MAX_REDIRECTS = 5


class FetchError(Exception):
    """A server refused, did not answer, or stopped in the middle.

    Attributes:
        address: the one that failed, which after a redirect is not the one asked for.
        status: what it answered; None without an answer.
        connected: whether the server was there at all; if not, no other file would come either.
    """

    def __init__(
        self, address: str, reason: str, status: int | None = None, *, connected: bool = True
    ) -> None:
        super().__init__(reason)
        self.address = address
        self.status = status
        self.connected = connected


class Downloads:
    """Fetches files; connections are kept and shared by all threads."""

    def __init__(self, limits: ImageLimits) -> None:
        """Prepare two ways out: to public addresses, and to where Label Studio itself sends us."""
        self._limits = limits
        self._public = WayOut(self._private_fault)
        self._trusted = WayOut(link_local_fault)
        self._large = large_places()

    def deadline(self, seconds: float | None) -> ImageWait:
        """Return how long to wait for a file from now on: `seconds`, and no longer than allowed."""
        allowed = self._limits.total_seconds
        return ImageWait(min(allowed, math.inf if seconds is None else seconds), self._large)

    def fetch(
        self, address: str, deadline: ImageWait, *, authorization: str | None = None
    ) -> bytes:
        """Return a file.

        Args:
            address: http or https.
            deadline: how long to wait for it, with all redirects. A large file has a place of it
                afterwards.
            authorization: given for Label Studio's own addresses, "" for no header. Those may be
                private, and so may be where it redirects to: a storage its administrator set up.
                The header does not follow a redirect to another host.

        Raises:
            FetchError: if the file does not come.
            SlowImageError: if it takes too long.
            TaskImageError: if the file is too large, or the address may not be visited.
        """
        way_out = self._public if authorization is None else self._trusted
        try:
            return self._followed(way_out, address, authorization or "", deadline)
        except (OSError, HTTPError) as error:
            deadline.check()
            request = getattr(error, "request", None)
            failed = request.url if request is not None and request.url else address
            raise FetchError(
                failed,
                f"no answer ({reason(error)})",
                connected=not isinstance(error, requests.ConnectionError),
            ) from error

    def _followed(self, way_out: "WayOut", address: str, header: str, deadline: ImageWait) -> bytes:
        """Follow redirects, whose own bodies are nobody's business and may be endless."""
        for _ in range(_MAX_REDIRECTS + 1):
            deadline.check()
            connect = deadline.at_most(self._limits.connect_seconds)
            read = deadline.at_most(self._limits.read_seconds)
            with way_out.answer(address, header, (connect, read)) as response:
                target = way_out.session.get_redirect_target(response)
                if target is None:
                    return self._read(response, deadline)
                address = _joined(response.url, target)
                if way_out.session.should_strip_auth(response.url, address):
                    header = ""
        raise FetchError(address, f"it redirects more than {_MAX_REDIRECTS} times")

    def _read(self, response: requests.Response, deadline: ImageWait) -> bytes:
        if not response.ok:
            status = response.status_code
            raise FetchError(response.url, f"it answers {status}", status)
        limits = self._limits
        announced = response.headers.get("content-length", "")
        if announced.isdigit() and int(announced) > limits.max_bytes:
            raise TaskImageError(_too_large(int(announced), limits.max_bytes))
        file = io.BytesIO()  # whose value is no copy
        raw: Any = response.raw
        # read1 returns what has arrived; iter_content would wait for a full piece, however long a
        # server takes to dribble it out.
        with hung_up_after(deadline.remaining(), raw.guarded_socket):
            while chunk := raw.read1(_CHUNK_BYTES, decode_content=True):
                size = file.tell() + len(chunk)
                if size > limits.max_bytes:
                    raise TaskImageError(_too_large(size, limits.max_bytes))
                deadline.make_room(size)
                file.write(chunk)
                deadline.check()
        deadline.check()  # a connection that was shut may look like the end of a file
        return file.getvalue()

    def _private_fault(self, host: str, port: int, ip: str) -> str:
        names = {host.lower(), f"{host.lower()}:{port}"}
        if names & self._limits.allowed_hosts or is_public(ip):
            return ""
        return (
            f"{host} is at {ip}, which is not a public address: add {host}:{port} to "
            "ICMFORMER_ALLOWED_IMAGE_HOSTS if it is yours"
        )


def _joined(address: str, target: str) -> str:
    """Return where a redirect leads, spelled as it will be asked for: then all read one host."""
    try:
        return str(requests.Request("GET", urljoin(address, target)).prepare().url)
    except ValueError as error:
        raise FetchError(address, f"it redirects to {target[:100]!r}, no address") from error


def _too_large(size: int, limit: int) -> str:
    megabytes, most = size / (1 << 20), limit / (1 << 20)
    return (
        f"the file has {megabytes:.0f} MB or more, over the limit of {most:g} MB "
        "(ICMFORMER_MAX_IMAGE_MB)"
    )
