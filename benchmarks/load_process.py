"""Client processes beside the one that measures: the load that they make is their own, and so is what it costs.

The measuring process names a load and a target, waits until the client has prepared it, and names the moments between
which it counts. Commands and answers are lines of JSON on the client's standard input and output.
"""

from __future__ import annotations

import asyncio
import gc
import json
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Protocol, TypeAlias

from benchmarks.document_load import DocumentLoad, Documents
from benchmarks.online_load import Flood, FloodLoad, OnlineLoad, Steps
from benchmarks.server_process import cpu_seconds

Asked: TypeAlias = Steps | Documents | Flood

_WARM_UP_SECONDS = 1.2
"""Longer than the engine remembers that another client was at work, which limits the share of one in a tick."""


class Load(Protocol):
    """What a client process can do."""

    async def prepare(self) -> None:
        """All that is not to be measured."""

    async def run(self, begin: float, end: float) -> dict[str, Any]:
        """From now until `end`; what happens after `begin` is told of."""

    async def leave(self) -> None:
        """Tidies up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a load did in the measured time, and the processor time of its process in it."""

    told: dict[str, Any]
    seconds: float
    cpu_seconds: float

    @property
    def latencies(self) -> list[float]:
        """Seconds, in no order."""
        return [each / 1e6 for each in self.told["latency_us"]]


class LoadProcess:
    """A client process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        """The process's."""
        return self._process.pid

    def prepare(self, asked: Asked, target: str) -> None:
        """Has the load prepared, and waits for that."""
        self._tell({"load": type(asked).__name__, "asked": asdict(asked), "target": target})
        self._told()

    def begin(self, begin: float, end: float) -> None:
        """Has the load run, and does not wait."""
        self._tell({"begin": begin, "end": end})

    def told(self) -> dict[str, Any]:
        """What the load did; waits until it is through and tidied up."""
        return self._told()

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _tell(self, command: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def _told(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a client process failed, see above")
        told: dict[str, Any] = json.loads(line)
        return told


@contextmanager
def load_processes(count: int) -> Iterator[list[LoadProcess]]:
    """So many client processes."""
    with ExitStack() as stack:
        processes = [LoadProcess() for _ in range(count)]
        for process in processes:
            stack.callback(process.close)
        yield processes


def run_together(
    loads: Sequence[tuple[LoadProcess, Asked, str]],
    seconds: float,
    watched_pids: Sequence[int],
    *,
    warm_up_seconds: float = _WARM_UP_SECONDS,
) -> tuple[list[Ran], list[float]]:
    """Runs loads beside each other, each against its target; also the processor seconds of the watched processes."""
    for process, asked, target in loads:
        process.prepare(asked, target)
    begin = time.monotonic() + warm_up_seconds
    end = begin + seconds
    for process, _, _ in loads:
        process.begin(begin, end)
    pids = [*watched_pids, *(process.pid for process, _, _ in loads)]
    time.sleep(max(0.0, begin - time.monotonic()))
    began, before = time.monotonic(), [cpu_seconds(pid) for pid in pids]
    time.sleep(max(0.0, end - time.monotonic()))
    took, after = time.monotonic() - began, [cpu_seconds(pid) for pid in pids]
    # For the window as it was asked for: the look at the clocks came a little late at either end.
    spent = [(b - a) * seconds / took for a, b in zip(before, after, strict=True)]
    ran = [
        Ran(told=process.told(), seconds=seconds, cpu_seconds=cpu)
        for (process, _, _), cpu in zip(loads, spent[len(watched_pids) :], strict=True)
    ]
    return ran, spent[: len(watched_pids)]


def _load(command: dict[str, Any]) -> Load:
    asked, target = command["asked"], command["target"]
    if command["load"] == "Steps":
        return OnlineLoad(Steps(**asked), target)
    if command["load"] == "Flood":
        return FloodLoad(Flood(**asked), target)
    return DocumentLoad(Documents(**asked), target)


async def _obey() -> None:
    loop = asyncio.get_running_loop()

    async def command() -> dict[str, Any] | None:
        line = await loop.run_in_executor(None, sys.stdin.readline)
        return json.loads(line) if line else None

    def answer(told: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()

    while (prepare := await command()) is not None:
        load = _load(prepare)
        await load.prepare()
        answer({})
        window = await command()
        if window is None:
            return
        told = await load.run(window["begin"], window["end"])
        await load.leave()
        answer(told)


def _precise_loop() -> asyncio.AbstractEventLoop:
    """An event loop that wakes when it is asked to: with epoll, timers are rounded up to a millisecond."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


if __name__ == "__main__":
    gc.set_threshold(100_000, 50, 50)
    with asyncio.Runner(loop_factory=_precise_loop) as runner:
        runner.run(_obey())
