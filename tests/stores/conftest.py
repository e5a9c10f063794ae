"""Each kind of store in turn, and SQLite's and Redis's by themselves."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from gatehouse_server.stores.port import SessionStore
from gatehouse_server.stores.redis import RedisStore
from gatehouse_server.stores.sqlite import SqliteStore

from tests.stores.dropping_proxy import DroppingProxy
from tests.stores.makers import MAKERS, StoreMaker
from tests.stores.redis_server import RedisServer

HELD = "import sys, pathlib; from gatehouse_server.stores.sqlite import SqliteStore\n"


@pytest.fixture(params=MAKERS, ids=lambda maker: maker.name)
def store_factory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., SessionStore]]:
    """Opens one and the same store, as often as it is called; close one before the next where it is not shared."""
    maker: StoreMaker = request.param(tmp_path)
    yield maker.make
    maker.close()


@pytest.fixture
def store(store_factory: Callable[..., SessionStore]) -> SessionStore:
    """The store, opened once."""
    return store_factory()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store is."""
    return tmp_path / "sessions.db"


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[..., SqliteStore]]:
    """Opens stores at `path`, or elsewhere, and closes them in the end."""
    stores: list[SqliteStore] = []

    def open_store(where: Path = path, **settings: object) -> SqliteStore:
        stores.append(SqliteStore(where, **settings))  # type: ignore[arg-type]
        return stores[-1]

    yield open_store
    for store in stores:
        store.close()


@pytest.fixture
def child() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts Python in another process, which is killed in the end."""
    children: list[subprocess.Popen[str]] = []

    def start(script: str, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HELD + script, *map(str, arguments)]
        children.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return children[-1]

    yield start
    for process in children:
        process.kill()
        process.communicate()


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of the test's own, which keeps everything over a restart."""
    with RedisServer(tmp_path, {"appendonly": "yes", "appendfsync": "always"}) as running:
        yield running


@pytest.fixture
def open_redis(redis_server: RedisServer) -> Iterator[Callable[..., RedisStore]]:
    """Opens stores, on that Redis unless another url is given, and closes them."""
    stores: list[RedisStore] = []

    def open_one(url: str | None = None, **options: Any) -> RedisStore:
        stores.append(RedisStore(url or redis_server.url, **options))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def raw_redis(redis_server: RedisServer) -> Iterator[Any]:
    """A plain client, to do what no store does."""
    with redis.Redis(port=redis_server.port) as client:
        yield client


@pytest.fixture
def dropping_proxy(redis_server: RedisServer) -> Iterator[DroppingProxy]:
    """A way to that Redis on which things get lost."""
    with DroppingProxy(redis_server.port) as relay:
        yield relay
