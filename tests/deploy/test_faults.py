"""From a fault to the alert that fires: a real server, a real Prometheus, and the committed rules on a faster clock.

Minutes of the rules are seconds here, hours minutes. Everything else is as an operator has it.
"""

from __future__ import annotations

import json
import re
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from gatehouse import Client
from gatehouse.errors import GatehouseError
from safetensors.torch import save_file

from benchmarks.prometheus_process import running_prometheus
from deploy.prometheus_api import Prometheus
from deploy.rules import PATH
from tests.deploy.patience import until
from tests.service.conftest import launch, stop
from tests.stores.redis_server import RedisServer
from tests.tiny import write_tiny_keyboard

pytestmark = pytest.mark.timeout(240)

HANGING = '''
"""An LSTM that hangs on an input that nobody should send."""

import time

from gatehouse_server.network.lstm import LSTM


class HangingLSTM(LSTM):
    def advance(self, product, parts):
        if float(product.abs().max()) > 1e6:
            time.sleep(60)
        super().advance(product, parts)
'''


def faster_rules(folder: Path) -> Path:
    """The committed rules with a clock that runs sixty times as fast."""
    smaller = {"m": "s", "h": "m"}

    def shrunk(match: re.Match[str]) -> str:
        count, unit = int(match[1]), match[2]
        return f"{24 * count}m" if unit == "d" else f"{count}{smaller[unit]}"

    lines = []
    for line in PATH.read_text(encoding="utf-8").splitlines():
        line = re.sub(r"(?<=\[)(\d+)([mhd])(?=\])", shrunk, line)
        lines.append(re.sub(r"(?<=for: )(\d+)([mhd])$", shrunk, line))
    path = folder / "faster.rules.yml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def typing(target: str, ended: threading.Event) -> None:
    """Somebody types, as long as the test goes on, whatever the server answers."""
    words = 0
    with Client(target, timeout_seconds=2) as client:
        while not ended.wait(0.1):
            words = words % 20 + 1
            try:
                client.suggest("hello " * words, session="phone", model="keyboard")
            except GatehouseError:
                continue


@contextmanager
def under_watch(folder: Path, *options: str) -> Iterator[tuple[Prometheus, str, Callable[[int], None]]]:
    """A server of a tiny keyboard that somebody types on, watched. Yields also its address and a way to signal it."""
    write_tiny_keyboard(folder / "models" / "keyboard" / "1")
    process, serving = launch("--models", str(folder / "models"), "--no-embedded-models", *options)
    ended = threading.Event()
    with ThreadPoolExecutor(max_workers=1) as pool:
        load = pool.submit(typing, serving["grpc"], ended)
        try:
            with running_prometheus(folder, [serving["http"]], faster_rules(folder)) as watching:
                until(lambda: watching.now("count_over_time(gatehouse_ready[1m]) > 5"), "there are scrapes")
                yield watching, serving["grpc"], process.send_signal
        finally:
            ended.set()
            stop(process)
            load.result(30)


def test_all_is_quiet_then_the_store_hangs_dies_and_comes_back(tmp_path: Path) -> None:
    """No alert under load. A Redis that takes requests and does not answer is told as lag, a killed one as failing,
    and both end when it is back with its data.
    """
    redis = RedisServer(tmp_path, {"appendonly": "yes"})
    try:
        with under_watch(tmp_path, "--state-store", redis.url) as (watching, _, _):
            until(lambda: watching.now("count_over_time(gatehouse_ready[1m]) > 12"), "there was time to fire")
            assert watching.firing() == set()
            redis.pause()
            until(lambda: "GatehouseStoreLags" in watching.firing(), "the lag is told")
            redis.resume()
            until(lambda: not watching.firing(), "all is quiet again")
            redis.kill()
            expected = {"GatehouseStoreLags", "GatehouseStoreFails"}
            until(lambda: watching.firing() >= expected, f"{expected} fire")
            redis.start()
            until(lambda: not watching.firing(), "they end")
    finally:
        redis.stop()


def insist(target: str, watching: Prometheus) -> None:
    """Asks for more at once than may wait, until the alert fires that somebody is refused."""
    ended = threading.Event()

    def ask() -> None:
        with Client(target, timeout_seconds=1) as client:
            while not ended.wait(0.02):
                try:
                    client.suggest("hello " * 500, model="keyboard")
                except GatehouseError:
                    continue

    with ThreadPoolExecutor(max_workers=12) as pool:
        asking = [pool.submit(ask) for _ in range(12)]
        try:
            until(lambda: "GatehouseRefuses" in watching.firing(), "refusals are told")
        finally:
            ended.set()
    for each in asking:
        each.result(30)


def test_a_full_queue_a_stuck_tick_and_a_dead_process_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refusals are paged. So is a tick that does not end: probes are answered still, and say that only a restart
    helps. Then the process is gone, and that is paged, too.
    """
    site = tmp_path / "site"
    information = site / "hanging-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: hanging\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[gatehouse.cells]\nhanging = hanging:HangingLSTM\n")
    (site / "hanging.py").write_text(HANGING)
    monkeypatch.setenv("PYTHONPATH", str(site))
    folder = tmp_path / "models" / "fragile" / "1"
    folder.mkdir(parents=True)
    config = {
        "format": 1,
        "name": "fragile",
        "version": "1",
        "task": "encoder",
        "input": {"kind": "features", "size": 2},
        "recurrent": {"cell": "hanging", "input_size": 2, "hidden_size": 4},
    }
    (folder / "config.json").write_text(json.dumps(config))
    shapes = {"weight_ih": (16, 2), "weight_hh": (16, 4), "bias_ih": (16,), "bias_hh": (16,)}
    save_file(
        {f"rnn.{name}_l0": torch.ones(shape) for name, shape in shapes.items()}, folder / "model.safetensors"
    )
    options = ("--max-queued-operations", "2", "--stuck-turn-seconds", "2")
    with under_watch(tmp_path, *options) as (watching, target, send_signal):
        insist(target, watching)
        assert watching.now("gatehouse_healthy == 1")
        with Client(target, timeout_seconds=1) as client:
            session = client.session("fragile")
            with pytest.raises(GatehouseError):
                session.append(features=[[1e7, 1e7]], timeout_seconds=1)
        until(lambda: "GatehouseStuck" in watching.firing(), "it is told as stuck")
        send_signal(signal.SIGKILL)
        until(lambda: "GatehouseDown" in watching.firing(), "it is told as down")
