"""HTTP connections that go only where they may, and never wait for ever.

Whoever can write an address must not make this backend visit the network it stands in. So
names are looked up before, and connections cut after they are made and before anything is sent, by
where they ended up; that holds for every redirect and needs no trust in what the name resolved to a
moment ago.
"""

import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NameResolutionError

from ml_backend.errors import TaskImageError
from ml_backend.label_studio.authorization import Authorization

# (host as in the address, port, IP address it turned out to be) -> why it may not be visited, and
# what to do about it; "" if it may.
HostRule = Callable[[str, int, str], str]

_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: a translator sends it on to IPv4
# What a network may send on to IPv4 addresses of its own, or to its own site; Python counts some of
# them among the whole internet's.
_OF_THE_NETWORK = tuple(
    ipaddress.ip_network(network)
    for network in (
        "64:ff9b:1::/48",  # RFC 8215: translators of this network
        "fec0::/10",  # RFC 3879: site-local
        "::/96",  # RFC 4291: IPv4-compatible
        "::ffff:0:0:0/96",  # RFC 2765: IPv4-translated
    )
)


def is_public(ip: str) -> bool:
    """Return whether an IP address is one of the whole internet's."""
    address = _ip(ip)
    return address.is_global and not any(address in network for network in _OF_THE_NETWORK)


def is_link_local(ip: str) -> bool:
    """Return whether an IP address is of this cable only, as a cloud's metadata service is."""
    return _ip(ip).is_link_local


def link_local_fault(host: str, port: int, ip: str) -> str:
    """The rule for where Label Studio itself sends us."""
    if not is_link_local(ip):
        return ""
    return (
        f"{host} is at {ip}, a link-local address, and Label Studio's files are never fetched from "
        "those: name that server (LABEL_STUDIO_URL, or the storage in Label Studio) by another one"
    )


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Read an address; an IPv4 one in IPv6 clothes (::ffff:127.0.0.1) is taken for what it is."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


class WayOut:
    """A session whose connections go only where a rule lets them; shared by all threads."""

    def __init__(self, rule: HostRule) -> None:
        self._rule = rule
        self.session = requests.Session()
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, _GuardedAdapter(rule))

    def answer(self, address: str, header: str, timeout: tuple[float, float]) -> requests.Response:
        """Return an answer whose body has not been read; `Session.get` reads those of redirects."""
        asked = requests.Request("GET", address, auth=Authorization(header, address))
        request = self.session.prepare_request(asked)
        url = request.url or address
        settings: Any = self.session.merge_environment_settings(url, {}, True, None, None)
        if select_proxy(url, settings["proxies"]):
            # A proxy connects, so no connection of ours tells where the name leads.
            parts = urlsplit(url)
            usual = 443 if parts.scheme == "https" else 80
            # Behind a proxy, names may be unknown here; what is no name is said by the proxy.
            with suppress(OSError, UnicodeError):
                for fault in _faults(self._rule, parts.hostname or "", parts.port or usual):
                    _refuse(fault)
        return self.session.get_adapter(url).send(request, timeout=timeout, **settings)


class _GuardedAdapter(HTTPAdapter):
    """Makes connections that look where they ended up before they speak."""

    def __init__(self, rule: HostRule) -> None:
        self._pools = _guarded_pools(rule)
        self._pools_to_proxies = _guarded_pools(lambda host, port, ip: "")
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Use guarded connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """Use such connections to a proxy, too, but it may stand anywhere."""
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = self._pools_to_proxies
        return manager


def _guarded_pools(rule: HostRule) -> dict[str, type[HTTPConnectionPool]]:
    """Return pools of connections that a rule guards.

    They wait for the beginning of an answer only so long in all: the timeout of a socket starts
    anew with every byte, and a server may send its headers one by one.
    """

    class GuardedHTTP(HTTPConnection):
        def _new_conn(self) -> Any:
            self._refuse_hidden_name()
            sock = super()._new_conn()
            try:
                _refuse(rule(self.host, self.port or 0, str(sock.getpeername()[0])))
            except TaskImageError:
                sock.close()
                raise
            return sock

        def _refuse_hidden_name(self) -> None:
            """Where a connection is made, its success would tell which ports are open there."""
            try:
                faults = _faults(rule, self.host, self.port or 0)
            except socket.gaierror as error:  # said at once: to look again may take as long
                raise NameResolutionError(self.host, self, error) from error
            if faults and all(faults):
                _refuse(faults[0])

        def getresponse(self) -> Any:
            sock = self.sock  # the connection may let go of it once the headers are there
            with hung_up_after(float(self.timeout or 0), sock):
                answer: Any = super().getresponse()
            answer.guarded_socket = sock
            return answer

    class GuardedHTTPS(GuardedHTTP, HTTPSConnection):
        """The same; the order of its bases puts TLS between the guard and the connection."""

    class HTTPPool(HTTPConnectionPool):
        ConnectionCls = GuardedHTTP

    class HTTPSPool(HTTPSConnectionPool):
        ConnectionCls = GuardedHTTPS

    return {"http": HTTPPool, "https": HTTPSPool}


def _faults(rule: HostRule, host: str, port: int) -> list[str]:
    """Return of each address of a name, as seen from here, why it may not be visited.

    Raises:
        OSError: if there is no such name.
        UnicodeError: if it can be none.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [rule(host, port, str(address[0])) for *_, address in found]


def _refuse(fault: str) -> None:
    if fault:
        raise TaskImageError(fault)


@contextmanager
def hung_up_after(seconds: float, sock: Any) -> Iterator[None]:
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
