"""Fetching an image file over HTTP: never too long, never too large, never from where it may not.

Task data may name any address, and whoever can write them must not make this backend visit the
network it stands in. So connections to private, loopback and other special addresses are cut after
the connection is made and before anything is sent; that holds for every redirect and needs no trust
in what the name resolved to a moment ago.
"""

import ipaddress
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urljoin

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from ml_backend.errors import TaskImageError
from ml_backend.label_studio import Authorization

_CHUNK_BYTES = 1 << 16
_MAX_REDIRECTS = 5

# (host as in the address, port, IP address it turned out to be) -> may it be visited?
HostRule = Callable[[str, int, str], bool]


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

    max_bytes: int = 200_000_000
    max_pixels: int = 100_000_000
    connect_seconds: float = 5.0
    read_seconds: float = 20.0
    total_seconds: float = 60.0
    allowed_hosts: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Compare hosts without regard to case."""
        hosts = frozenset(host.strip().lower() for host in self.allowed_hosts)
        object.__setattr__(self, "allowed_hosts", hosts)


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
        self._public = _session(self._is_public_or_allowed, limits.read_seconds)
        self._trusted = _session(_is_not_link_local, limits.read_seconds)

    def fetch(
        self, address: str, *, authorization: str | None = None, seconds: float | None = None
    ) -> bytes:
        """Return a file.

        Args:
            address: http or https.
            authorization: given for Label Studio's own addresses, "" for no header. Those may be
                private, and so may be where it redirects to: a storage its administrator set up.
                The header does not follow a redirect to another host.
            seconds: for the whole file, where less is left than the limits allow.

        Raises:
            FetchError: if the file does not come.
            TaskImageError: if the file is too large or slow, or the address may not be visited.
        """
        session = self._public if authorization is None else self._trusted
        seconds = min(self._limits.total_seconds, math.inf if seconds is None else seconds)
        give_up = _GiveUp(seconds)
        try:
            return self._followed(session, address, authorization or "", give_up)
        except (requests.RequestException, HTTPError) as error:
            request = getattr(error, "request", None)
            failed = request.url if request is not None and request.url else address
            raise FetchError(
                failed,
                f"no answer ({type(error).__name__})",
                connected=not isinstance(error, requests.ConnectionError),
            ) from error

    def _followed(
        self, session: requests.Session, address: str, header: str, give_up: "_GiveUp"
    ) -> bytes:
        """Follow redirects, whose own bodies are nobody's business and may be endless."""
        for _ in range(_MAX_REDIRECTS + 1):
            give_up.check()
            with self._answer(session, address, header) as response:
                target = session.get_redirect_target(response)
                if target is None:
                    return self._read(response, give_up)
                address = urljoin(response.url, target)
                if session.should_strip_auth(response.url, address):
                    header = ""
        raise FetchError(address, f"it redirects more than {_MAX_REDIRECTS} times")

    def _answer(self, session: requests.Session, address: str, header: str) -> requests.Response:
        """Return an answer whose body has not been read; `Session.get` reads those of redirects."""
        asked = requests.Request("GET", address, auth=Authorization(header))
        request = session.prepare_request(asked)
        url = request.url or address
        settings: Any = session.merge_environment_settings(url, {}, True, None, None)
        timeout = (self._limits.connect_seconds, self._limits.read_seconds)
        return session.get_adapter(url).send(request, timeout=timeout, **settings)

    def _read(self, response: requests.Response, give_up: "_GiveUp") -> bytes:
        if not response.ok:
            status = response.status_code
            raise FetchError(response.url, f"it answers {status}", status)
        limits = self._limits
        announced = response.headers.get("content-length", "")
        if announced.isdigit() and int(announced) > limits.max_bytes:
            raise TaskImageError(_too_large(int(announced), limits.max_bytes))
        data = bytearray()
        # read1 returns what has arrived; iter_content would wait for a full piece, however long a
        # server takes to dribble it out.
        while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=True):
            data += chunk
            if len(data) > limits.max_bytes:
                raise TaskImageError(_too_large(len(data), limits.max_bytes))
            give_up.check()
        return bytes(data)

    def _is_public_or_allowed(self, host: str, port: int, ip: str) -> bool:
        names = {host.lower(), f"{host.lower()}:{port}"}
        return bool(names & self._limits.allowed_hosts) or is_public(ip)


class _GiveUp:
    """When nobody waits for a file any more."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._at = time.monotonic() + seconds

    def check(self) -> None:
        if time.monotonic() > self._at:
            raise TaskImageError(f"it takes longer than {self._seconds:.3g} seconds")


def is_public(ip: str) -> bool:
    """Return whether an IP address is one of the whole internet's."""
    return _ip(ip).is_global


def is_link_local(ip: str) -> bool:
    """Return whether an IP address is of this cable only, as a cloud's metadata service is."""
    return _ip(ip).is_link_local


def _is_not_link_local(host: str, port: int, ip: str) -> bool:
    return not is_link_local(ip)


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Read an address; an IPv4 one in IPv6 clothes (::ffff:127.0.0.1) is taken for what it is."""
    address = ipaddress.ip_address(text.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


def _too_large(size: int, limit: int) -> str:
    return (
        f"the file has {size / 1e6:.0f} MB or more, over the limit of {limit / 1e6:g} MB "
        "(ICMFORMER_MAX_IMAGE_MB)"
    )


def _session(rule: HostRule, header_seconds: float) -> requests.Session:
    session = requests.Session()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("http://", "https://"):
        session.mount(scheme, _GuardedAdapter(rule, header_seconds))
    return session


class _GuardedAdapter(HTTPAdapter):
    """Makes connections that look where they ended up before they speak.

    And that wait for the beginning of an answer only so long in all: the timeout of a socket starts
    anew with every byte, and a server may send its headers one by one.
    """

    def __init__(self, rule: HostRule, header_seconds: float) -> None:
        self._rule = rule
        self._header_seconds = header_seconds
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Use guarded connections; requests through a proxy are the proxy's business."""
        super().init_poolmanager(*args, **kwargs)
        rule, seconds = self._rule, self._header_seconds

        class GuardedHTTP(HTTPConnection):
            def _new_conn(self) -> Any:
                return _checked(super()._new_conn(), self, rule)

            def getresponse(self) -> Any:
                with _hung_up_after(seconds, self.sock):
                    return super().getresponse()

        class GuardedHTTPS(GuardedHTTP, HTTPSConnection):
            """The same; the order of its bases puts TLS between the guard and the connection."""

        class HTTPPool(HTTPConnectionPool):
            ConnectionCls = GuardedHTTP

        class HTTPSPool(HTTPSConnectionPool):
            ConnectionCls = GuardedHTTPS

        self.poolmanager.pool_classes_by_scheme = {"http": HTTPPool, "https": HTTPSPool}


def _checked(sock: Any, connection: HTTPConnection, rule: HostRule) -> Any:
    ip = str(sock.getpeername()[0])
    if not rule(connection.host, connection.port, ip):
        sock.close()
        raise TaskImageError(
            f"{connection.host} is at {ip}, which is not a public address: add "
            f"{connection.host}:{connection.port} to ICMFORMER_ALLOWED_IMAGE_HOSTS if it is yours"
        )
    return sock


@contextmanager
def _hung_up_after(seconds: float, sock: Any) -> Iterator[None]:
    """Shut a connection if the block takes longer; whoever reads from it then finds its end.

    Raises:
        TimeoutError: if the block failed because of that.
    """
    late = threading.Event()

    def hang_up() -> None:
        late.set()
        with suppress(OSError):  # it may be closed by now
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, HTTPException) as error:
        if late.is_set():
            raise TimeoutError(f"no answer had begun after {seconds:g} s") from error
        raise
    finally:
        timer.cancel()
