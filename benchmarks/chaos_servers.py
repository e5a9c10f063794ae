"""The servers of a chaos run, which get killed."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path

from benchmarks.cannot_run import CannotRunError
from benchmarks.server_process import gatehouse_command

_START_SECONDS = 120.0
_BROKEN = [sys.executable, "-m", "benchmarks.chaos_server_without_duplicate_check"]


class Replica:
    """A Gatehouse server that is killed and started again. Each start takes a free port; `port` is None while it is
    down.
    """

    def __init__(self, models: Path, *options: str, break_duplicates: bool = False) -> None:
        ports = ("--admin-port", "0", "--http-port", "0")
        command = gatehouse_command(models, 0, *ports, "--log-format", "json", *options)
        self._command = [*_BROKEN, *command[1:]] if break_duplicates else command
        self._process: Process | None = None
        self._log: asyncio.Task[None] | None = None
        self.port: int | None = None
        self.complaints: list[str] = []
        """Lines of its logs that are errors, or no log lines at all (a traceback)."""

    async def start(self) -> None:
        """Starts it and waits until it serves."""
        process = self._process = await asyncio.create_subprocess_exec(
            *self._command, stdout=DEVNULL, stderr=PIPE, limit=2**20
        )
        serving: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._log = asyncio.create_task(self._read_log(process, serving))
        try:
            async with asyncio.timeout(_START_SECONDS):
                self.port = await serving
        except TimeoutError:
            raise CannotRunError(f"the server did not serve within {_START_SECONDS:g} s") from None

    async def kill(self) -> None:
        """`kill -9`."""
        self.port = None
        if self._process is None:
            return
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        if self._log is not None:
            await self._log
        self._process = None

    async def _read_log(self, process: Process, serving: asyncio.Future[int]) -> None:
        """Somebody has to read, to the end, or the server would wait for room in the pipe."""
        assert process.stderr is not None
        async for line in process.stderr:
            try:
                event = json.loads(line)
            except ValueError:
                self.complaints.append(line.decode(errors="replace").rstrip())
                continue
            if event["event"] == "serving" and not serving.done():
                serving.set_result(int(event["grpc"].rpartition(":")[2]))
            if event["level"] in ("error", "critical"):
                self.complaints.append(line.decode(errors="replace").rstrip())
        if not serving.done():
            said = "\n".join(self.complaints[-20:])
            serving.set_exception(CannotRunError(f"the server ended before it served:\n{said}"))
