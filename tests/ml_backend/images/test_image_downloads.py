import contextlib
import gzip
import logging
import socket
import threading
import time
import tracemalloc

import pytest
from flask import Response, redirect

from ml_backend.errors import TaskImageError
from ml_backend.images import guarded_connections
from ml_backend.images.image_downloads import Downloads, FetchError
from ml_backend.images.image_limits import ImageLimits
from ml_backend.logs import PACKAGES, write_logs
from tests.ml_backend.stand_in import Elsewhere, serving
from tests.waiting import PATIENCE

FILE = bytes(range(100))


@pytest.fixture
def server():
    server = Elsewhere({"file": lambda: FILE})
    with serving(server.app()) as server.url:
        yield server


def fetch(address, *, allowed=("127.0.0.1",), authorization=None, **limits):
    downloads = Downloads(ImageLimits(allowed_hosts=frozenset(allowed), **limits))
    return downloads.fetch(address, downloads.deadline(None), authorization=authorization)


def forbidden(address, **options):
    with pytest.raises(TaskImageError) as error:
        fetch(address, **options)
    return str(error.value)


def no_answer(address, **options):
    with pytest.raises(FetchError) as error:
        fetch(address, **options)
    return str(error.value)


def test_a_file(server):
    assert fetch(f"{server.url}/file") == FILE
    assert fetch(f"{server.url}/file", allowed=(), authorization="Token x") == FILE
    assert fetch(f"{server.url}/file", allowed=(), authorization="") == FILE
    assert server.requests == [("file", None), ("file", "Token x"), ("file", None)]


def test_a_file_is_in_memory_once():
    whole = bytes(20 << 20)
    server = Elsewhere({"whole": lambda: whole})
    with serving(server.app()) as server.url:
        tracemalloc.start()
        assert len(fetch(f"{server.url}/whole")) == len(whole)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    # A buffer that grows takes an eighth more, and werkzeug's server at times 10 MB in the end, to
    # look for what it has not read; a copy takes twice.
    assert peak < 1.9 * len(whole)


def test_a_refusal_says_who_refused(server):
    server.answers["away"] = lambda: redirect(f"{server.url}/gone")
    with pytest.raises(FetchError, match="it answers 404") as error:
        fetch(f"{server.url}/away")
    assert error.value.address == f"{server.url}/gone"
    assert error.value.status == 404


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_private_addresses_are_not_visited(server, name):
    address = server.url.replace("127.0.0.1", name) + "/file"
    text = forbidden(address, allowed=())
    assert f"{name} is at 127.0.0.1, which is not a public address: add {name}:" in text
    assert "ICMFORMER_ALLOWED_IMAGE_HOSTS" in text
    assert server.requests == []


@pytest.mark.parametrize("entry", ["127.0.0.1", "{host}"])
def test_a_private_host_may_be_allowed(server, entry):
    assert fetch(f"{server.url}/file", allowed=(entry.format(host=server.host),)) == FILE


def test_case_does_not_matter(server):
    address = server.url.replace("127.0.0.1", "LocalHost") + "/file"
    assert fetch(address, allowed=("localhost",)) == FILE


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_private_addresses_do_not_even_see_a_connection(name):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert "not a public address" in forbidden(f"http://{name}:{port}/file", allowed=())
        listening.settimeout(0.2)
        with pytest.raises(TimeoutError):
            listening.accept()


def resolving(monkeypatch, *ips):
    """Have every name lead to these addresses; return what is looked up."""
    asked = []

    def look_up(host, port, *args, **options):
        asked.append(host)
        if not ips:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in ips]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


def test_a_name_with_an_address_that_may_not_be_visited_is_visited_at_another(server, monkeypatch):
    resolving(monkeypatch, "127.0.0.1", "169.254.1.1")
    assert fetch(f"{server.url}/file", authorization="") == FILE
    resolving(monkeypatch, "169.254.1.1")
    assert "is at 169.254.1.1, a link-local address" in forbidden(
        f"{server.url}/file", authorization=""
    )


def test_a_name_that_does_not_exist_is_looked_up_once(monkeypatch):
    asked = resolving(monkeypatch)
    assert "no answer" in no_answer("http://nowhere.example/file")
    assert asked == ["nowhere.example"]


def test_a_redirect_may_not_lead_to_a_private_address(server):
    hidden = Elsewhere({"file": lambda: FILE})
    with serving(hidden.app()) as hidden.url:
        server.answers["away"] = lambda: redirect(f"{hidden.url}/file")
        text = forbidden(f"{server.url}/away", allowed=(server.host,))
    assert "is not a public address" in text
    assert hidden.requests == []


def test_the_header_does_not_follow_a_redirect_to_another_server(server):
    other = Elsewhere({"file": lambda: FILE})
    with serving(other.app()) as other.url:
        server.answers["away"] = lambda: redirect(f"{other.url}/file")
        assert fetch(f"{server.url}/away", authorization="Token x") == FILE
    assert other.requests == [("file", None)]


@pytest.mark.parametrize(
    ("ip", "public", "trusted"),
    [
        ("93.184.215.14", True, True),
        ("2606:4700::1111", True, True),
        ("10.0.0.7", False, True),
        ("192.168.1.1", False, True),
        ("127.0.0.1", False, True),
        ("::1", False, True),
        ("::ffff:127.0.0.1", False, True),
        ("fd00::1", False, True),
        ("100.64.0.1", False, True),
        # A cloud's metadata service is out of bounds even for Label Studio's redirects.
        ("169.254.169.254", False, False),
        ("::ffff:169.254.169.254", False, False),
        ("fe80::1%eth0", False, False),
        # IPv4 addresses in other clothes: NAT64 (RFC 6052) and 6to4 (RFC 3056).
        ("64:ff9b::5db8:d70e", True, True),
        ("64:ff9b::a9fe:a9fe", False, False),
        ("64:ff9b::a00:5", False, True),
        ("2002:a00:5::1", False, True),
        ("64:ff9b:1::a00:5", False, True),
        ("fec0::1", False, True),
        ("::a00:5", False, True),
        ("::ffff:0:a00:5", False, True),
    ],
)
def test_which_addresses_may_be_visited(ip, public, trusted):
    assert guarded_connections.is_public(ip) is public
    assert guarded_connections.is_link_local(ip) is not trusted


def test_where_label_studio_may_not_lead_there_is_no_advice_to_allow_it(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")  # then names are looked at first
    text = forbidden("http://169.254.169.254/file", authorization="Token x")
    assert "169.254.169.254, a link-local address, and Label Studio's files are never" in text
    assert "ICMFORMER_ALLOWED_IMAGE_HOSTS" not in text


def test_redirects_come_to_an_end(server):
    server.answers["round"] = lambda: redirect(f"{server.url}/round")
    assert "more than 5 times" in no_answer(f"{server.url}/round")
    server.answers["local"] = lambda: redirect("file:///etc/hostname")
    assert "InvalidSchema" in no_answer(f"{server.url}/local")


def test_the_body_of_a_redirect_is_not_read(server):
    sent = []

    def endless():
        for _ in range(10_000):
            sent.append(1)
            yield b"x" * 10_000

    away = {"Location": f"{server.url}/file"}
    server.answers["away"] = lambda: Response(endless(), status=302, headers=away)
    assert fetch(f"{server.url}/away") == FILE
    assert len(sent) < 5_000


def test_redirects_count_towards_the_time_of_a_file(server):
    def later():
        time.sleep(0.2)
        return redirect(f"{server.url}/file")

    server.answers["later"] = later
    assert "longer than 0.1 seconds" in forbidden(f"{server.url}/later", total_seconds=0.1)
    downloads = Downloads(ImageLimits(allowed_hosts=frozenset({"127.0.0.1"})))
    with pytest.raises(TaskImageError, match=r"longer than 0\.1 seconds"):
        downloads.fetch(f"{server.url}/later", downloads.deadline(0.1))


@contextlib.contextmanager
def dribbling(at_once, dribbled):
    """Give an address, and what its server could send before somebody hung up."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        sent = bytearray()

        def dribble():
            connection, _ = listening.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(at_once)
                for byte in dribbled:
                    connection.sendall(bytes([byte]))
                    sent.append(byte)
                    time.sleep(0.05)

        server = threading.Thread(target=dribble, daemon=True)
        server.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/file", sent
        server.join()


def test_a_server_that_dribbles_its_headers_is_hung_up_on():
    headers = b"HTTP/1.1 200 OK\r\n" + b"X-More: and more\r\n" * 50
    with dribbling(b"", headers) as (address, sent):
        assert "no answer" in no_answer(address, read_seconds=0.4)
    assert len(sent) < len(headers)


def test_a_server_that_dribbles_the_length_of_a_chunk_is_hung_up_on():
    headers, length = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0" * 1000
    with dribbling(headers, length) as (address, sent):
        assert "longer than 0.4 seconds" in forbidden(address, total_seconds=0.4)
    assert len(sent) < len(length)


@pytest.mark.parametrize("announced", [True, False])
def test_a_huge_file_is_cut_off(server, announced):
    sent = []

    def body():
        for _ in range(10_000):
            sent.append(1)
            yield b"x" * 10_000

    headers = {"Content-Length": "100000000"} if announced else {}
    server.answers["huge"] = lambda: Response(body(), headers=headers)
    text = forbidden(f"{server.url}/huge", max_bytes=1 << 20)
    assert "over the limit of 1 MB (ICMFORMER_MAX_IMAGE_MB)" in text
    assert len(sent) < 5_000


def test_a_compressed_answer_is_counted_as_it_unfolds(server):
    packed = gzip.compress(b"\0" * 50_000_000)
    server.answers["zip"] = lambda: Response(packed, headers={"Content-Encoding": "gzip"})
    assert "over the limit of 1 MB" in forbidden(f"{server.url}/zip", max_bytes=1 << 20)


def test_a_server_that_dribbles_is_given_up(server):
    def body():
        for byte in FILE:
            time.sleep(0.02)
            yield bytes([byte])

    server.answers["slow"] = lambda: Response(body())
    assert "longer than 0.3 seconds" in forbidden(f"{server.url}/slow", total_seconds=0.3)


def test_a_server_that_falls_silent_is_given_up(server):
    silence = threading.Event()

    def body():
        yield FILE
        silence.wait(PATIENCE)

    server.answers["silent"] = lambda: Response(body())
    text = no_answer(f"{server.url}/silent", read_seconds=0.2)
    silence.set()
    assert "no answer" in text


def test_a_server_that_is_away_is_told_from_a_file_that_does_not_come(server):
    server.answers["short"] = lambda: Response(iter([FILE]), headers={"Content-Length": "400"})
    for address, connected in ((f"{server.url}/short", True), ("http://127.0.0.1:1/x", False)):
        with pytest.raises(FetchError) as error:
            fetch(address)
        assert error.value.connected is connected


def test_a_file_that_ends_too_soon(server):
    headers = {"Content-Length": "400"}
    server.answers["short"] = lambda: Response(iter([FILE]), headers=headers)
    assert "no answer" in no_answer(f"{server.url}/short")


@contextlib.contextmanager
def falling_silent_after(answer, then_itself=None):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        silence = threading.Event()
        host = f"127.0.0.1:{listening.getsockname()[1]}"
        if then_itself:
            answer += host.encode() + then_itself

        def fall_silent():
            connection, _ = listening.accept()
            with connection:
                connection.sendall(answer)
                silence.wait(PATIENCE)

        threading.Thread(target=fall_silent, daemon=True).start()
        yield f"http://{host}/file"
        silence.set()


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n\r\nabc"], ids=["all", "body"])
def test_nobody_waits_longer_than_there_is_time_for_a_server_that_falls_silent(answer):
    with falling_silent_after(answer) as address:
        text = forbidden(address, total_seconds=0.3, read_seconds=3600)
    assert "longer than 0.3 seconds" in text


def test_a_file_that_is_announced_as_huge_is_not_waited_for():
    with falling_silent_after(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n") as address:
        text = forbidden(address, max_bytes=1 << 20, read_seconds=PATIENCE)
    assert "the file has 95 MB or more, over the limit of 1 MB" in text


@pytest.fixture
def programs_logs():
    """Write logs as programs do; afterwards they are as before."""
    loggers = [logging.getLogger(name) for name in (None, *PACKAGES, "urllib3")]
    levels = [logger.level for logger in loggers]
    handlers, loggers[0].handlers = loggers[0].handlers, []
    write_logs("INFO")
    yield
    loggers[0].handlers = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def test_of_odd_headers_no_line_with_the_signature_is_logged(capsys, programs_logs):
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nno header\r\n\r\nabc"
    with falling_silent_after(answer) as address:
        assert fetch(f"{address}?X-Amz-Signature=SECRET") == b"abc"
    assert capsys.readouterr().err == ""


def test_a_redirect_in_disguise_takes_no_header_along():
    other = Elsewhere({})
    with serving(other.app()) as other.url:
        start = f"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: {other.url}\\@"
        with falling_silent_after(start.encode(), then_itself=b"/file\r\n\r\n") as address:
            no_answer(address, authorization="Token x")
    assert [header for _, header in other.requests] == [None]


def test_a_redirect_to_no_address():
    answer = b"HTTP/1.1 302 Found\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n"
    with falling_silent_after(answer) as address:
        assert "redirects to 'http://[', no address" in no_answer(address)


def test_a_proxy_is_not_asked_for_what_may_not_be_visited(server, monkeypatch):
    proxy = Elsewhere({})
    with serving(proxy.app()) as proxy.url:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        for address in ("http://169.254.169.254/latest", "http://10.0.0.7/a.png", server.url):
            assert "not a public address" in forbidden(address, allowed=())
        # The proxy itself may stand anywhere.
        named = server.url.replace("127.0.0.1", "localhost")
        assert "it answers 404" in no_answer(f"{named}/file", allowed=("localhost",))
    assert len(proxy.requests) == 1
