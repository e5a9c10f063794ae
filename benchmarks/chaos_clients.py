"""The client processes of a chaos run or a soak, from the outside."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.cannot_run import CannotRunError


class ClientProcess:
    """A client process: lines in, lines out."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def tell(self, line: str) -> None:
        """Writes a line to it."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        await self._process.stdin.drain()

    async def line(self) -> str:
        """Its next line. Raises CannotRunError when there is none."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise CannotRunError("a client process ended early; its standard error tells why")
        return line.decode()

    async def expect(self, word: str) -> None:
        """Waits for a line that says so."""
        if (line := (await self.line()).strip()) != word:
            raise CannotRunError(f"a client process said {line!r} in place of {word!r}")


@asynccontextmanager
async def client_process(module: str) -> AsyncIterator[ClientProcess]:
    """A module of this folder as a process, which waits for its plan once it says `ready`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, stdin=PIPE, stdout=PIPE, limit=2**28
    )
    try:
        yield ClientProcess(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
