"""Two replicas on one Redis in a soak: restarted one after the other, and told to look at their models again."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from gatehouse.operator import Operator

from benchmarks.chaos_servers import Replica
from benchmarks.server_process import resident_bytes_of
from benchmarks.soak_lives import Life
from benchmarks.soak_visits import MODEL

_PORTS = range(20_000, 30_000)
"""Below those that connections of clients take, which could take a server's while it is down."""

_LOOK_SECONDS = 1.0


@dataclass(slots=True, kw_only=True)
class Reloads:
    """What became of the models at each look: `name@version: change`, or a problem."""

    looks: int = 0
    replaced: int = 0
    problems: list[str] = field(default_factory=list)


class Fleet:
    """The replicas at fixed addresses. `module` serves in place of Gatehouse itself."""

    def __init__(self, models: Path, *options: str, replicas: int = 2, module: str | None = None) -> None:
        ports = _free_ports(3 * replicas)
        self._ports = [(ports[3 * n], ports[3 * n + 1], ports[3 * n + 2]) for n in range(replicas)]
        self._replicas = [
            Replica(models, *options, ports=(users, admin, http), module=module)
            for users, admin, http in self._ports
        ]
        # Whoever replaces a model does not stop the server at the same time, and the other way round.
        self._turns = [asyncio.Lock() for _ in self._replicas]
        self._living: dict[int, Life] = {}
        self.lives: list[Life] = []
        self.reloads = Reloads()

    def target(self, first: int) -> str:
        """All replicas as one target of gRPC, which takes the first that it reaches."""
        users = [ports[0] for ports in self._ports]
        return "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in users[first:] + users[:first])

    @property
    def http_targets(self) -> list[str]:
        """Where their metrics are."""
        return [f"127.0.0.1:{http}" for _, _, http in self._ports]

    @property
    def complaints(self) -> list[str]:
        """Error lines of their logs."""
        return [line for replica in self._replicas for line in replica.complaints]

    async def start(self) -> None:
        """Starts them, all at once."""
        await asyncio.gather(*(self._start(number) for number in range(len(self._replicas))))

    async def restart(self, number: int) -> None:
        """Asks one to leave, waits until it has, and starts it again."""
        async with self._turns[number]:
            await self._leave(number)
            await self._start(number)

    async def roll(self) -> None:
        """Restarts each, one after the other."""
        for number in range(len(self._replicas)):
            await self.restart(number)

    async def leave(self) -> None:
        """Asks all to leave, one after the other."""
        for number in list(self._living):
            await self._leave(number)

    async def kill(self) -> None:
        """Whatever is still there is gone afterwards."""
        await asyncio.gather(*(replica.kill() for replica in self._replicas))

    async def keep_restarting(self, until: float, pause_seconds: float) -> None:
        """Restarts one replica after the other, with a pause in which both serve."""
        number = 0
        while time.monotonic() + pause_seconds < until:
            await asyncio.sleep(pause_seconds)
            await self.restart(number)
            number = (number + 1) % len(self._replicas)

    async def keep_reloading(self, until: float, pause_seconds: float, replace: Callable[[], None]) -> None:
        """Has `replace` change the content of a model, and every replica look at its models again."""
        while time.monotonic() + pause_seconds < until:
            await asyncio.sleep(pause_seconds)
            await asyncio.to_thread(replace)
            for number in range(len(self._replicas)):
                async with self._turns[number]:
                    await asyncio.to_thread(self._reload, number)

    async def watch(self) -> None:
        """Notes what they hold of memory, until it is cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            for number, life in list(self._living.items()):
                pid = self._replicas[number].pid
                if pid is not None:
                    with suppress(FileNotFoundError, ProcessLookupError, RuntimeError):  # it has just left
                        life.resident_bytes.append((time.monotonic(), resident_bytes_of(pid)))

    async def _start(self, number: int) -> None:
        begun = time.monotonic()
        await self._replicas[number].start()
        life = self._living[number] = Life(replica=number, begun=begun, served=time.monotonic())
        self.lives.append(life)

    async def _leave(self, number: int) -> None:
        life = self._living.pop(number)
        life.told_to_leave = time.monotonic()
        life.exit_code = await self._replicas[number].terminate()
        life.left = time.monotonic()

    def _reload(self, number: int) -> None:
        with Operator(f"127.0.0.1:{self._ports[number][1]}") as operator:
            changes = operator.reload_models()
        self.reloads.looks += 1
        for change in changes:
            name = change.model.partition("@")[0]
            # One that has just started may have the new content already.
            if change.change == "replaced" and name == MODEL:
                self.reloads.replaced += 1
            elif change.change != "unchanged":
                self.reloads.problems.append(f"{change.model}: {change.change} {change.problem}".strip())


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    found: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        if len(found) == count:
            break
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
    return found
