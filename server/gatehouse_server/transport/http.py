"""The HTTP side for operators: metrics, liveness, readiness. In threads of its own, beside the calls."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import IO, TYPE_CHECKING, cast
from wsgiref.simple_server import ServerHandler, WSGIRequestHandler, WSGIServer, make_server

import structlog

from gatehouse_server.transport.server import PortUnavailableError, address_of

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

Problems = Callable[[], Mapping[str, str]]
"""What is wrong, by a short name, with a sentence each; empty when nothing is. Called from any thread."""

_REQUEST_SECONDS = 10.0
_LONGEST_LINE_BYTES = 65_536
_ALL, _IPV4_ALL = "::", "0.0.0.0"

_log = structlog.get_logger(__name__)


class HttpServer:
    """Serves `/metrics`, `/healthz` and `/readyz` from its construction until `close`.

    The host `::` stands for every address, of IPv4 as well, and of IPv4 alone on a machine without IPv6.
    Raises PortUnavailableError when the port is taken.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        metrics: WSGIApplication,
        unhealthy: Problems,
        unready: Problems,
        warnings: Problems = dict,
    ) -> None:
        pages = {
            "/metrics": metrics,
            "/healthz": _page(unhealthy, warnings),
            "/readyz": _page(unready, warnings),
        }
        try:
            self._server = make_server(
                _IPV4_ALL if host == _ALL and not socket.has_dualstack_ipv6() else host,
                port,
                _router(pages),
                server_class=_ThreadingServer,
                handler_class=_Handler,
            )
        except OSError as error:
            raise PortUnavailableError(
                f"cannot listen on {address_of(host, port)} ({error.strerror})"
            ) from error
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, name="gatehouse-http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the server and frees its port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _ThreadingServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: type[WSGIRequestHandler]) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Takes the address; for `::` those of IPv4 with it, whatever the machine's default is."""
        if self.server_address[0] == _ALL:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def handle_error(self, request: object, client_address: object) -> None:
        """Load balancers open connections and say nothing, and readers leave: that is no news."""
        _note(sys.exception())


def _note(error: BaseException | None) -> None:
    if not isinstance(error, TimeoutError | ConnectionError):
        _log.error("a request over HTTP failed", exc_info=error)


class _Answering(ServerHandler):
    request_handler: WSGIRequestHandler

    def log_exception(self, exc_info: tuple[object, BaseException | None, object]) -> None:
        """In the log, like all else, instead of on stderr; that a reader takes nothing any more is no news either."""
        _note(exc_info[1])


class _Handler(WSGIRequestHandler):
    timeout = _REQUEST_SECONDS

    def handle(self) -> None:
        """One request. As the library's, but for the class of `answering`, which it has no other way to choose."""
        self.raw_requestline = self.rfile.readline(_LONGEST_LINE_BYTES + 1)
        if len(self.raw_requestline) > _LONGEST_LINE_BYTES:
            self.requestline = self.request_version = self.command = ""
            self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)
        elif self.parse_request():
            out = cast("IO[bytes]", self.wfile)
            answering = _Answering(self.rfile, out, self.get_stderr(), self.get_environ(), multithread=True)
            answering.request_handler = self
            application = cast("_ThreadingServer", self.server).get_app()
            assert application is not None, "make_server sets it"
            answering.run(application)

    def address_string(self) -> str:
        return str(self.client_address[0])  # no look-up of names

    def log_message(self, format: str, *args: object) -> None:
        """Probes come every few seconds; they are no news."""


def _router(pages: Mapping[str, WSGIApplication]) -> WSGIApplication:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        page = pages.get(environ.get("PATH_INFO", ""))
        if page is None:
            known = ", ".join(pages)
            return _answer(environ, start_response, HTTPStatus.NOT_FOUND, {"error": f"there is {known}"})
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _answer(
                environ, start_response, HTTPStatus.METHOD_NOT_ALLOWED, {"error": "expected GET or HEAD"}
            )
        body = page(environ, start_response)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else body

    return application


def _page(problems: Problems, warnings: Problems) -> WSGIApplication:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        found = dict(problems())
        status = HTTPStatus.SERVICE_UNAVAILABLE if found else HTTPStatus.OK
        content = {"ok": not found, "problems": found, "warnings": dict(warnings())}
        return _answer(environ, start_response, status, content)

    return application


def _answer(
    environ: WSGIEnvironment, start_response: StartResponse, status: HTTPStatus, content: Mapping[str, object]
) -> Iterable[bytes]:
    body = json.dumps(content).encode() + b"\n"
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers.append(("Allow", "GET, HEAD"))
    start_response(f"{status.value} {status.phrase}", headers)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
