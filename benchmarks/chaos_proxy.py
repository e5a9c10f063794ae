"""A TCP proxy that breaks connections: in the middle of messages, for a moment, or only on one side."""

from __future__ import annotations

import asyncio
import random
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable
from dataclasses import dataclass

_CHUNK_BYTES = 16 * 1024
_STALL_SHARE = 0.25
_HALF_OPEN_SHARE = 0.3
_STALL_SECONDS = (0.2, 1.5)


@dataclass(slots=True)
class Faults:
    """What the proxy has done to connections so far.

    `reconnects` are connections to a server on a port that had one before, `refused` those that found no server.
    `cuts` ended a connection after so many bytes, `stalls` held both directions up and then went on, `half_open` kept
    the client's side open and silent after the server's side was gone.
    """

    reconnects: int = 0
    refused: int = 0
    cuts: int = 0
    stalls: int = 0
    half_open: int = 0


class CuttingProxy:
    """Brings each connection to one of the ports that `upstreams` names at that moment, chosen at random.

    A connection that finds none of them open is closed again, as by a load balancer without a server behind it.
    `mean_bytes_to_fault` is how many bytes of both directions pass on average before something is done to it.
    """

    def __init__(self, upstreams: Callable[[], list[int]], *, mean_bytes_to_fault: float, seed: int) -> None:
        self.faults = Faults()
        self._upstreams = upstreams
        self._mean_bytes_to_fault = mean_bytes_to_fault
        self._random = random.Random(seed)
        self._calm = False
        self._listeners: list[asyncio.Server] = []
        self._links: set[asyncio.Task[None]] = set()
        self._used: set[int] = set()

    async def listen(self, ports: int) -> list[int]:
        """Opens that many ports, which differ in nothing, so that clients do not share connections; the ports."""
        opened = [await asyncio.start_server(self._accepted, "127.0.0.1", 0) for _ in range(ports)]
        self._listeners += opened
        return [listener.sockets[0].getsockname()[1] for listener in opened]

    def calm(self) -> None:
        """From now on every byte gets through."""
        self._calm = True

    async def close(self) -> None:
        """Closes the ports and every connection."""
        for listener in self._listeners:
            listener.close()
        for link in list(self._links):
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    def _accepted(self, reader: StreamReader, writer: StreamWriter) -> None:
        link = asyncio.create_task(self._serve(reader, writer))
        self._links.add(link)
        link.add_done_callback(self._links.discard)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        upstream = await self._connect()
        if upstream is None:
            self.faults.refused += 1
            writer.close()
            return
        port = writer.get_extra_info("sockname")[1]
        self.faults.reconnects += port in self._used
        self._used.add(port)
        try:
            await self._join(reader, writer, *upstream)
        finally:
            writer.transport.abort()
            upstream[1].transport.abort()

    async def _connect(self) -> tuple[StreamReader, StreamWriter] | None:
        ports = self._upstreams()
        self._random.shuffle(ports)
        for port in ports:
            try:
                return await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                continue
        return None

    async def _join(
        self, reader: StreamReader, writer: StreamWriter, server: StreamReader, to_server: StreamWriter
    ) -> None:
        link = _Link(self._random, self._mean_bytes_to_fault)
        up = asyncio.create_task(self._pump(reader, to_server, link))
        down = asyncio.create_task(self._pump(server, writer, link))
        try:
            await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
            if down.done() and not link.cut and not self._calm and self._random.random() < _HALF_OPEN_SHARE:
                self.faults.half_open += 1
                await asyncio.sleep(self._random.uniform(*_STALL_SECONDS))
        finally:
            for pump in (up, down):
                pump.cancel()
            await asyncio.gather(up, down, return_exceptions=True)

    async def _pump(self, reader: StreamReader, writer: StreamWriter, link: _Link) -> None:
        """One direction, until it ends or the link is cut."""
        try:
            while chunk := await reader.read(_CHUNK_BYTES):
                await link.flowing.wait()
                passed = len(chunk) if self._calm else link.passes(len(chunk))
                writer.write(chunk[:passed])
                await writer.drain()
                if passed == len(chunk):
                    continue
                if self._random.random() > _STALL_SHARE:
                    link.cut = True
                    self.faults.cuts += 1
                    return
                self.faults.stalls += 1
                link.flowing.clear()
                await asyncio.sleep(self._random.uniform(*_STALL_SECONDS))
                link.flowing.set()
                writer.write(chunk[passed:])
        except ConnectionError:
            return  # One side is gone: so is the link.


class _Link:
    """What the two directions of a connection share: how many bytes pass before the next fault."""

    def __init__(self, source: random.Random, mean_bytes_to_fault: float) -> None:
        self.cut = False
        self.flowing = asyncio.Event()
        self.flowing.set()
        self._random = source
        self._mean_bytes = mean_bytes_to_fault
        self._left = self._draw()

    def passes(self, size: int) -> int:
        """How many of the next `size` bytes pass; fewer than `size` when it is time for a fault."""
        if size < self._left:
            self._left -= size
            return size
        passed, self._left = self._left - 1, self._draw()
        return passed

    def _draw(self) -> int:
        return 1 + int(self._random.expovariate(1 / self._mean_bytes))
