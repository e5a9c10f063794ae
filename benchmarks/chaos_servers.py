"""The servers of a chaos run and of a soak, which get killed or asked to leave."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path

from benchmarks.cannot_run import CannotRunError
from benchmarks.server_process import gatehouse_command

_START_SECONDS = 120.0
WITHOUT_DUPLICATE_CHECK = "benchmarks.chaos_server_without_duplicate_check"


class Replica:
    """A Gatehouse server that is ended and started again. Each start takes free ports, unless `ports` names one for
    users, one for operators and one for HTTP; `port` is None while it is down. `module` is what serves, if not
    Gatehouse itself.
    """

    def __init__(
        self,
        models: Path,
        *options: str,
        ports: tuple[int, int, int] = (0, 0, 0),
        module: str | None = None,
    ) -> None:
        users, admin, http = ports
        others = ("--admin-port", str(admin), "--http-port", str(http))
        command = gatehouse_command(models, users, *others, "--log-format", "json", *options)
        self._command = command if module is None else [sys.executable, "-m", module, *command[1:]]
        self._process: Process | None = None
        self._log: asyncio.Task[None] | None = None
        self.port: int | None = None
        self.pid: int | None = None
        self.complaints: list[str] = []
        """Lines of its logs that are errors, or no log lines at all (a traceback)."""

    async def start(self) -> None:
        """Starts it and waits until it serves."""
        process = self._process = await asyncio.create_subprocess_exec(
            *self._command, stdout=DEVNULL, stderr=PIPE, limit=2**20
        )
        self.pid = process.pid
        serving: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._log = asyncio.create_task(self._read_log(process, serving))
        try:
            async with asyncio.timeout(_START_SECONDS):
                self.port = await serving
        except TimeoutError:
            raise CannotRunError(f"the server did not serve within {_START_SECONDS:g} s") from None

    async def kill(self) -> None:
        """`kill -9`."""
        await self._end(signal.SIGKILL)

    async def terminate(self) -> int:
        """Asks it to leave, and waits until it has; its exit code."""
        code = await self._end(signal.SIGTERM)
        assert code is not None, "who leaves was there"
        return code

    async def _end(self, number: signal.Signals) -> int | None:
        self.port = None
        process = self._process
        if process is None:
            return None
        if process.returncode is None:
            process.send_signal(number)
        code = await process.wait()
        if self._log is not None:
            await self._log
        self._process = None
        self.pid = None
        return code

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
