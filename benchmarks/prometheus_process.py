"""A Prometheus of a run's own, on a free loopback port, which watches servers by the committed rules."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import yaml

from benchmarks.cannot_run import CannotRunError
from benchmarks.server_process import free_port
from deploy.prometheus_api import Prometheus
from deploy.rules import PATH as RULES

_PATIENCE_SECONDS = 60.0


@contextmanager
def running_prometheus(folder: Path, targets: Sequence[str], rules: Path = RULES) -> Iterator[Prometheus]:
    """Scrapes the targets (host:port) and evaluates the rules once a second; ends with the context.

    Raises CannotRunError when there is none to start.
    """
    binary = shutil.which("prometheus")
    if binary is None:
        raise CannotRunError("prometheus is not on the PATH; install it (Debian: apt install prometheus)")
    config = folder / "prometheus.yml"
    config.write_text(yaml.safe_dump(_config(targets, rules)), encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    options = [f"--config.file={config}", f"--storage.tsdb.path={folder / 'prometheus'}"]
    with (folder / "prometheus.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [binary, *options, f"--web.listen-address={address}"], stdout=log, stderr=subprocess.STDOUT
        )
        try:
            _wait(address, process, folder / "prometheus.log")
            yield Prometheus(f"http://{address}")
        finally:
            process.terminate()
            process.wait(timeout=_PATIENCE_SECONDS)


def _config(targets: Sequence[str], rules: Path) -> dict[str, object]:
    return {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules.resolve())],
        "scrape_configs": [{"job_name": "gatehouse", "static_configs": [{"targets": list(targets)}]}],
    }


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _PATIENCE_SECONDS
    while not _ready(address):
        if process.poll() is not None or time.monotonic() > until:
            raise CannotRunError(f"prometheus did not start:\n{log.read_text(encoding='utf-8')[-2000:]}")
        time.sleep(0.1)


def _ready(address: str) -> bool:
    try:
        with urlopen(f"http://{address}/-/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False
