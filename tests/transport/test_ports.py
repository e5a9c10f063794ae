"""Ports: taken ones are one clear line, and the HTTP side answers probes."""

import http.client
import json
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc.aio
import pytest
import structlog.testing
from gatehouse_server.telemetry.metrics import Metrics
from gatehouse_server.transport import http as http_side
from gatehouse_server.transport.http import HttpServer
from gatehouse_server.transport.server import OPTIONS, PortUnavailableError, bind


@contextmanager
def probes(unhealthy: dict[str, str], unready: dict[str, str]) -> Iterator[http.client.HTTPConnection]:
    """The HTTP side on a free port, and a connection to it."""
    server = HttpServer(
        host="127.0.0.1",
        port=0,
        metrics=Metrics().page(),
        unhealthy=lambda: unhealthy,
        unready=lambda: unready,
    )
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        yield connection
    finally:
        connection.close()
        server.close()


def asked(
    connection: http.client.HTTPConnection, path: str, method: str = "GET", accept: str = "*/*"
) -> tuple[int, str, bytes]:
    """Status, content type and body."""
    connection.request(method, path, headers={"Accept": accept})
    response = connection.getresponse()
    return response.status, response.headers["Content-Type"], response.read()


def test_probes_say_what_is_wrong() -> None:
    """200 while nothing is; 503 with the problems as JSON otherwise."""
    with probes({}, {"phase": "models are being loaded"}) as connection:
        assert asked(connection, "/healthz")[0] == 200
        status, content_type, body = asked(connection, "/readyz")
        assert (status, content_type) == (503, "application/json")
        assert json.loads(body) == {
            "ok": False,
            "problems": {"phase": "models are being loaded"},
            "warnings": {},
        }
    with probes({"engine": "stuck"}, {}) as connection:
        assert asked(connection, "/healthz")[0] == 503
        assert asked(connection, "/readyz")[0] == 200


def test_metrics_come_in_the_form_that_is_asked_for() -> None:
    """Text by default, OpenMetrics where the reader accepts it."""
    with probes({}, {}) as connection:
        status, content_type, body = asked(connection, "/metrics")
        assert (status, content_type.partition(";")[0]) == (200, "text/plain")
        assert b"gatehouse_store_lag_seconds 0.0" in body
        status, content_type, body = asked(connection, "/metrics", accept="application/openmetrics-text")
        assert content_type.startswith("application/openmetrics-text")
        assert body.endswith(b"# EOF\n")


def test_other_paths_and_methods_are_refused() -> None:
    """404 names what there is, 405 what is allowed; HEAD is GET without a body."""
    with probes({}, {}) as connection:
        status, _, body = asked(connection, "/")
        assert status == 404
        assert b"/metrics" in body
        connection.request("POST", "/metrics")
        response = connection.getresponse()
        response.read()
        assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")
        assert asked(connection, "/healthz", "HEAD")[::2] == (200, b"")


def test_a_taken_http_port_is_one_line() -> None:
    """The exception names the address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortUnavailableError, match=f"127.0.0.1:{port}"):
            HttpServer(host="127.0.0.1", port=port, metrics=Metrics().page(), unhealthy=dict, unready=dict)


def has_ipv6() -> bool:
    """Whether this machine has an address of IPv6."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def answers(host: str, *addresses: str) -> list[bool]:
    """Whether the HTTP side that listens on `host` answers a probe that comes to each of its addresses."""
    server = HttpServer(host=host, port=0, metrics=Metrics().page(), unhealthy=dict, unready=dict)
    connections = [http.client.HTTPConnection(address, server.port, timeout=10) for address in addresses]
    try:
        return [asked(connection, "/healthz")[0] == 200 for connection in connections]
    finally:
        for connection in connections:
            connection.close()
        server.close()


@pytest.mark.skipif(not has_ipv6(), reason="a machine without IPv6")
@pytest.mark.parametrize(
    ("host", "addresses"), [("::1", ["::1"]), ("::", ["::1", "127.0.0.1"])], ids=["one", "all"]
)
def test_probes_are_answered_over_ipv6(host: str, addresses: list[str]) -> None:
    """At one address of it, or at every address of both."""
    assert all(answers(host, *addresses))


def test_every_address_is_taken_where_there_is_no_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of IPv4: an image that asks for both starts there, too."""
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    assert answers("::", "127.0.0.1") == [True]


@pytest.mark.parametrize(
    ("host", "address"),
    [("203.0.113.1", "203.0.113.1:0"), ("2001:db8::1", "[2001:db8::1]:0")],
    ids=["4", "6"],
)
def test_an_address_of_another_machine_is_one_line(host: str, address: str) -> None:
    """The exception names it, that of IPv6 in brackets."""
    with pytest.raises(PortUnavailableError, match=re.escape(f"cannot listen on {address} (")):
        HttpServer(host=host, port=0, metrics=Metrics().page(), unhealthy=dict, unready=dict)


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when the HTTP side has done with a connection, whatever became of it."""
    event, close_request = threading.Event(), http_side._ThreadingServer.close_request

    def close(self: http_side._ThreadingServer, request: socket.socket) -> None:
        close_request(self, request)
        event.set()

    monkeypatch.setattr(http_side._ThreadingServer, "close_request", close)
    return event


def leave_at_once(connection: socket.socket) -> None:
    """Ends it with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize("peer", ["says nothing", "resets"])
def test_peers_that_say_nothing_or_leave_are_no_news(
    peer: str, ended: threading.Event, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Load balancers try ports all day: neither the log nor stderr has a line of it."""
    monkeypatch.setattr(http_side._Handler, "timeout", 0.05 if peer == "says nothing" else 10)
    with probes({}, {}) as known, structlog.testing.capture_logs() as logged:
        with socket.create_connection(("127.0.0.1", known.port)) as connection:
            if peer == "resets":
                leave_at_once(connection)
            assert ended.wait(10)
        assert asked(known, "/healthz")[0] == 200
    assert logged == []
    assert capfd.readouterr().err == ""


def test_a_reader_that_stands_still_is_no_news(
    ended: threading.Event, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its connection ends, and nothing is said of it."""
    monkeypatch.setattr(http_side._Handler, "timeout", 0.05)

    def long_page(
        environ: object, start_response: Callable[[str, list[tuple[str, str]]], object]
    ) -> list[bytes]:
        start_response("200 OK", [])
        return [bytes(2**25)]

    server = HttpServer(host="127.0.0.1", port=0, metrics=long_page, unhealthy=dict, unready=dict)
    try:
        with (
            structlog.testing.capture_logs() as logged,
            socket.create_connection(("127.0.0.1", server.port)) as connection,
        ):
            connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            assert ended.wait(10)
    finally:
        server.close()
    assert logged == []
    assert capfd.readouterr().err == ""


def test_a_line_that_is_too_long_is_refused() -> None:
    """With a status of its own; the next request is served."""
    with probes({}, {}) as known:
        assert asked(known, "/" + "x" * 70_000)[0] == 414
        known.close()
        assert asked(known, "/healthz")[0] == 200


def test_a_page_that_fails_is_logged(capfd: pytest.CaptureFixture[str]) -> None:
    """Whoever asks gets a 500, and the log the exception: as an event, not as lines on stderr."""

    def fail() -> dict[str, str]:
        raise RuntimeError("defect")

    server = HttpServer(host="127.0.0.1", port=0, metrics=Metrics().page(), unhealthy=fail, unready=dict)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        with structlog.testing.capture_logs() as logged:
            assert asked(connection, "/healthz")[0] == 500
            assert asked(connection, "/readyz")[0] == 200
    finally:
        connection.close()
        server.close()
    (event,) = logged
    assert (event["log_level"], str(event["exc_info"])) == ("error", "defect")
    assert capfd.readouterr().err == ""


def test_a_defect_of_the_http_side_is_logged(
    ended: threading.Event, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Also one before there is a request."""

    def fail(self: object) -> None:
        raise RuntimeError("defect")

    monkeypatch.setattr(http_side._Handler, "handle", fail)
    with probes({}, {}) as known, structlog.testing.capture_logs() as logged:
        socket.create_connection(("127.0.0.1", known.port)).close()
        assert ended.wait(10)
    (event,) = logged
    assert (event["log_level"], str(event["exc_info"])) == ("error", "defect")
    assert capfd.readouterr().err == ""


async def test_a_taken_grpc_port_is_one_line() -> None:
    """Two servers never share a port."""
    first, second = grpc.aio.server(options=OPTIONS), grpc.aio.server(options=OPTIONS)
    port = bind(first, "127.0.0.1", 0)
    await first.start()
    with pytest.raises(PortUnavailableError, match=f"127.0.0.1:{port}"):
        bind(second, "127.0.0.1", port)
    await first.stop(None)
    await second.stop(None)
