"""One scenario of the chaos run: servers on a store, users at work through the proxy, and somebody who kills."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.chaos_clients import client_process
from benchmarks.chaos_models import MODELS, VOCABULARY
from benchmarks.chaos_proxy import CuttingProxy, Faults
from benchmarks.chaos_servers import WITHOUT_DUPLICATE_CHECK, Replica
from benchmarks.redis_process import running_redis

Store = Literal["sqlite", "redis"]
Durability = Literal["async", "sync"]

_PROCESSES = 2
_CONNECTIONS = 4
"""Of each client process; the last one carries unary calls, the others a stream each."""

_BYTES_TO_FAULT_OF_A_SESSION = 300.0
"""However many sessions share the connections, there is a fault every few seconds on each."""

_FIRST_KILL_SECONDS = (2.0, 3.0)
_BETWEEN_KILLS_SECONDS = (3.0, 6.0)
"""From when the killed server serves again. Clients, who wait up to some seconds between attempts, get to work."""

_LAST_READS_SECONDS = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is played: which store and durability, for how long, with how many sessions."""

    store: Store
    durability: Durability
    seconds: float
    sessions: int
    seed: int
    break_duplicates: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """When a server was killed, and when it served again, on the clock of `time.monotonic`."""

    killed: float
    served_again: float


@dataclass(slots=True, kw_only=True)
class Played:
    """What came of it. `users` has what each user counted, `replies` are the files of outputs, `complaints` error lines
    of the servers' logs.
    """

    kills: list[Kill] = field(default_factory=list)
    faults: Faults
    users: list[dict[str, Any]] = field(default_factory=list)
    replies: list[Path] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


async def play(scenario: Scenario, models: Path, folder: Path) -> Played:
    """Plays a scenario; what is stored goes into `folder`, which must be there. Raises CannotRunError."""
    async with AsyncExitStack() as stack:
        replicas = await stack.enter_async_context(_replicas(scenario, models, folder))
        clients = [
            await stack.enter_async_context(client_process("benchmarks.chaos_users"))
            for _ in range(_PROCESSES)
        ]
        replies = [folder / f"replies-{number}.npz" for number in range(_PROCESSES)]
        await asyncio.gather(
            *(replica.start() for replica in replicas), *(client.expect("ready") for client in clients)
        )
        proxy = CuttingProxy(
            lambda: [replica.port for replica in replicas if replica.port is not None],
            mean_bytes_to_fault=_BYTES_TO_FAULT_OF_A_SESSION * scenario.sessions,
            seed=scenario.seed,
        )
        stack.push_async_callback(proxy.close)
        played = Played(faults=proxy.faults)
        for number, client in enumerate(clients):
            ports = await proxy.listen(_CONNECTIONS)
            await client.tell(json.dumps(_plan(scenario, number, ports, replies[number])))
        ending = asyncio.Event()
        killing = asyncio.create_task(_kill(replicas, played.kills, random.Random(scenario.seed), ending))
        living = asyncio.gather(*(client.expect("ran") for client in clients))
        await asyncio.wait((killing, living), return_when=asyncio.FIRST_COMPLETED)
        if not living.done():
            living.cancel()
            await killing  # it ends by failing
        living.result()
        # What was answered last must survive too: every server dies once more, then everybody reads.
        ending.set()
        proxy.calm()
        for client in clients:
            await client.tell("")
        async with asyncio.timeout(_LAST_READS_SECONDS):
            told, _ = await asyncio.gather(asyncio.gather(*(client.line() for client in clients)), killing)
        played.users = [user for line in told for user in json.loads(line)["users"]]
        played.replies = replies
        played.complaints = [line for replica in replicas for line in replica.complaints]
        return played


@asynccontextmanager
async def _replicas(scenario: Scenario, models: Path, folder: Path) -> AsyncIterator[list[Replica]]:
    """One server on SQLite, or two on one Redis, to be started."""
    async with AsyncExitStack() as stack:
        if scenario.store == "redis":
            store, count = stack.enter_context(running_redis(folder, on_disk=True)), 2
        else:
            store, count = f"sqlite:{folder / 'sessions.db'}", 1
        options = ("--state-store", store, "--durability", scenario.durability)
        module = WITHOUT_DUPLICATE_CHECK if scenario.break_duplicates else None
        replicas = [Replica(models, *options, module=module) for _ in range(count)]
        for replica in replicas:
            stack.push_async_callback(replica.kill)
        yield replicas


def _plan(scenario: Scenario, number: int, ports: list[int], replies: Path) -> dict[str, Any]:
    """What a client process is to do: its share of the sessions; see `chaos_users.Plan`."""
    targets = [f"127.0.0.1:{port}" for port in ports]
    return {
        "names": [f"chaos-{scenario.seed}-{user}" for user in range(number, scenario.sessions, _PROCESSES)],
        "targets": targets,
        "unary_targets": targets[-1:],
        "models": list(MODELS),
        "vocabulary": VOCABULARY,
        "sync": scenario.durability == "sync",
        "seconds": scenario.seconds,
        "replies": str(replies),
    }


async def _kill(
    replicas: list[Replica], kills: list[Kill], source: random.Random, ending: asyncio.Event
) -> None:
    """Kills a server and starts it again, until it is `ending`; then each of them once more. Never more than one of
    them is down.
    """
    pause_seconds = _FIRST_KILL_SECONDS
    while not ending.is_set():
        try:
            await asyncio.wait_for(ending.wait(), source.uniform(*pause_seconds))
        except TimeoutError:
            await _kill_one(source.choice(replicas), kills)
        pause_seconds = _BETWEEN_KILLS_SECONDS
    for replica in replicas:
        await _kill_one(replica, kills)


async def _kill_one(replica: Replica, kills: list[Kill]) -> None:
    killed = time.monotonic()
    await replica.kill()
    await replica.start()
    kills.append(Kill(killed=killed, served_again=time.monotonic()))
