"""A redis-server of a benchmark's own, on a free loopback port."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from benchmarks.cannot_run import CannotRunError
from benchmarks.server_process import free_port

_PATIENCE_SECONDS = 20.0


@contextmanager
def running_redis(folder: Path, *, on_disk: bool = False) -> Iterator[str]:
    """Starts it and gives its URL; ends it afterwards. It keeps what it has in memory alone, or also in `folder`.

    Raises CannotRunError when there is none to start.
    """
    binary = shutil.which("redis-server")
    if binary is None:
        raise CannotRunError("redis-server is not on the PATH; install it (Debian: apt install redis-server)")
    port = free_port()
    appends = "yes" if on_disk else "no"
    options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", appends, "--dir", str(folder)]
    process = subprocess.Popen([binary, "--port", str(port), *options], stdout=subprocess.DEVNULL)
    try:
        url = f"redis://127.0.0.1:{port}/0"
        _wait(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=_PATIENCE_SECONDS)


def used_bytes(url: str) -> int:
    """What Redis says that its data takes, the bookkeeping of its allocator aside."""
    with redis.Redis.from_url(url) as client:
        memory = client.info("memory")
        assert isinstance(memory, dict)
        return int(memory["used_memory"])


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _PATIENCE_SECONDS
    with redis.Redis.from_url(url) as client:
        while True:
            try:
                client.ping()
                return
            except redis.ConnectionError:
                if process.poll() is not None or time.monotonic() > until:
                    raise CannotRunError("redis-server did not start") from None
                time.sleep(0.05)
