"""A relay on the loopback that loses a reply, so that the server did what it was asked and the client does not learn of
it; or that delivers a question late.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self


class DroppingProxy:
    """Relays connections to a port. `lose_reply()` cuts the connection at the next bytes that come from the server;
    `lose_request()` at the next that come from the client. `hold_request()` keeps the next bytes from the client until
    `deliver()`, which returns when the server has answered them, whether the client is still there or not.
    """

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lose: bool | None = None
        self.lost = threading.Event()
        self._hold = False
        self._deliver = threading.Event()
        self._answered = threading.Event()
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def lose_reply(self) -> None:
        self.lost.clear()
        self._lose = True

    def lose_request(self) -> None:
        self.lost.clear()
        self._lose = False

    def hold_request(self) -> None:
        self._hold = True

    def deliver(self) -> bytes:
        """The first bytes of the server's answer; nothing else may be under way."""
        self._deliver.set()
        assert self._answered.wait(timeout=10)
        return self._answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            sockets = [self._listener, *self._sockets]
        for each in sockets:
            _cut(each)
        for thread in self._threads:
            thread.join(timeout=10)
        for each in sockets:
            each.close()

    def _start(self, target: object, *arguments: object) -> None:
        assert callable(target)
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            server = socket.create_connection(("127.0.0.1", self._server_port))
            with self._lock:
                self._sockets += (client, server)
            self._start(self._relay, client, server, False)
            self._start(self._relay, server, client, True)

    def _relay(self, source: socket.socket, target: socket.socket, replies: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self._lose is replies:
                    self._lose = None
                    self.lost.set()
                    break
                if self._hold and not replies:
                    self._hold = False
                    self._deliver.wait(timeout=10)
                    target.sendall(data)
                    # The client may have left: do not hang up on the server before it has answered.
                    self._answered.wait(timeout=10)
                    continue
                if replies and self._deliver.is_set() and not self._answered.is_set():
                    self._answer = data
                    self._answered.set()
                target.sendall(data)
        _cut(source)
        _cut(target)


def _cut(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
