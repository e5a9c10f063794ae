"""Ports: taken ones are one clear line, and the HTTP side answers probes."""

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import grpc.aio
import pytest
from gatehouse_server.telemetry.metrics import Metrics
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


async def test_a_taken_grpc_port_is_one_line() -> None:
    """Two servers never share a port."""
    first, second = grpc.aio.server(options=OPTIONS), grpc.aio.server(options=OPTIONS)
    port = bind(first, "127.0.0.1", 0)
    await first.start()
    with pytest.raises(PortUnavailableError, match=f"127.0.0.1:{port}"):
        bind(second, "127.0.0.1", port)
    await first.stop(None)
    await second.stop(None)
