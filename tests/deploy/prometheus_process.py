"""A real Prometheus on the loopback interface, scraping a server once a second."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import yaml

from deploy.prometheus_api import Prometheus

T = TypeVar("T")
_READY_SECONDS = 60.0


@contextmanager
def prometheus(
    folder: Path, target: str, *, rules: Sequence[Path] = (), evaluation: str = "1s"
) -> Iterator[Prometheus]:
    """Scrapes `target` (host:port) until the end of the context."""
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.fail("prometheus is missing: apt-get install prometheus")
    config = folder / "prometheus.yml"
    config.write_text(
        yaml.safe_dump(
            {
                "global": {"scrape_interval": "1s", "evaluation_interval": evaluation},
                "rule_files": [str(path) for path in rules],
                "scrape_configs": [{"job_name": "gatehouse", "static_configs": [{"targets": [target]}]}],
            }
        ),
        encoding="utf-8",
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    log = (folder / "prometheus.log").open("w", encoding="utf-8")
    process = subprocess.Popen(
        [
            binary,
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={address}",
        ],
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        until(
            lambda: _ready(f"http://{address}/-/ready") or process.poll() is not None, "Prometheus is ready"
        )
        assert process.poll() is None, (folder / "prometheus.log").read_text(encoding="utf-8")
        yield Prometheus(f"http://{address}")
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def until(look: Callable[[], T], what: str, seconds: float = _READY_SECONDS) -> T:
    """Looks again and again until what it sees is true. Fails the test after `seconds`."""
    end = time.monotonic() + seconds
    while not (seen := look()):
        if time.monotonic() > end:
            pytest.fail(f"after {seconds:.0f} s it is still not true that {what}")
        time.sleep(0.2)
    return seen


def _ready(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False
