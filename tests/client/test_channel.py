"""What the options of a channel do."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from gatehouse import Client

from tests.client.fake_server import FakeServer


@pytest.fixture
def distant(server: FakeServer) -> Iterator[str]:
    """A target from which the server's first bytes come after a fifth of a second: it is far away, or busy."""
    listener = socket.create_server(("127.0.0.1", 0))
    sockets = [listener]

    def carry(source: socket.socket, sink: socket.socket, delay_seconds: float) -> None:
        try:
            while data := source.recv(65536):
                threading.Event().wait(delay_seconds)
                delay_seconds = 0.0
                sink.sendall(data)
        except OSError:
            pass

    def connect() -> None:
        try:
            while True:
                client, _ = listener.accept()
                beyond = socket.create_connection(("127.0.0.1", server.port))
                sockets.extend((client, beyond))
                threading.Thread(target=carry, args=(client, beyond, 0.0), daemon=True).start()
                threading.Thread(target=carry, args=(beyond, client, 0.2), daemon=True).start()
        except OSError:
            pass

    threading.Thread(target=connect, daemon=True).start()
    yield f"127.0.0.1:{listener.getsockname()[1]}"
    for each in sockets:
        each.close()


def test_a_distant_server_is_reached_at_the_first_attempt(distant: str) -> None:
    """A call that is never repeated has its answer, although the connection takes some time."""
    with Client(distant) as client:
        assert len(list(client.generate("how are", model="keyboard", max_steps=2))) == 2


@pytest.mark.parametrize("size", [300_000, 2_500_000])
def test_a_large_batch_is_repeated_like_a_small_one(server: FakeServer, size: int) -> None:
    """What a server refuses that restarts is sent once more, whatever its size."""
    server.offline.calls_to_refuse = 1
    with Client(server.target) as client:
        (result,) = client.classify_batch([("a", "plants " + "x" * size)], model="topics")
    assert result.label == "plants"
    assert server.calls["OfflineService.Classify"] == 2
