"""A soak: replicas that are restarted in turn, users and visitors at work meanwhile, and a Prometheus that watches."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.chaos_clients import ClientProcess, client_process
from benchmarks.chaos_models import MODELS, VOCABULARY, write_model, write_models
from benchmarks.prometheus_process import running_prometheus
from benchmarks.redis_process import running_redis
from benchmarks.soak_fleet import Fleet, Reloads
from benchmarks.soak_lives import Life
from benchmarks.soak_visits import MODEL
from deploy.objectives import OBJECTIVES
from deploy.prometheus_api import Prometheus

CONTENTS = 2
"""How many contents the changing model has in turn."""

RESTARTING_SHARE = 0.55
"""Replicas are restarted for so much of the time; then the last processes live on, so that memory can be judged."""

REPLACING_SHARE = 0.95
"""Models are replaced for so much of the time."""

_LAST_READS_SECONDS = 180.0
_LAST_SCRAPE_SECONDS = 2.0
_WAVE_SECONDS = 20.0
_MOST_CONNECTION_AGE_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Soak:
    """What is played. Pauses lie between two restarts, from when both serve again, and between two reloads. `module`
    serves in place of Gatehouse itself.
    """

    seconds: float
    sessions: int
    restart_pause_seconds: float
    reload_pause_seconds: float
    module: str | None = None


@dataclass(slots=True, kw_only=True)
class Soaked:
    """What came of it. `users` and `visited` are what client processes counted, `replies` a file of outputs, `firing`
    and `pending` the alerts that did so at any time, `shares` those of bad operations, by the name of the objective.
    From `settled_since` on, on the clock of `time.monotonic`, no server was restarted.
    """

    users: list[dict[str, Any]] = field(default_factory=list)
    replies: Path = Path()
    visited: dict[str, Any] = field(default_factory=dict)
    lives: list[Life] = field(default_factory=list)
    settled_since: float = 0.0
    reloads: Reloads = field(default_factory=Reloads)
    firing: set[str] = field(default_factory=set)
    pending: set[str] = field(default_factory=set)
    shares: dict[str, float] = field(default_factory=dict)
    scrapes: int = 0
    complaints: list[str] = field(default_factory=list)


def write_soak_models(folder: Path) -> None:
    """Writes the models to serve into `folder/models`, and the contents of the changing one into `folder/contents`."""
    write_models(folder / "models")
    for number in range(CONTENTS):
        write_model(
            content(folder, number), recurrent={"cell": "gru", "layers": 1}, tied=False, seed=10 + number
        )
    shutil.copytree(content(folder, 0), folder / "models" / MODEL / "1")


def content(folder: Path, number: int) -> Path:
    """Where a content of the changing model is."""
    return folder / "contents" / str(number) / MODEL / "1"


async def play(soak: Soak, folder: Path) -> Soaked:
    """Plays it, on the models in `folder`. Raises CannotRunError."""
    soaked = Soaked(replies=folder / "replies.npz")
    async with AsyncExitStack() as stack:
        store = stack.enter_context(running_redis(folder, on_disk=True))
        age_seconds = min(_MOST_CONNECTION_AGE_SECONDS, soak.seconds / 4)
        fleet = Fleet(
            folder / "models",
            *("--state-store", store, "--max-connection-age-seconds", str(age_seconds)),
            *("--max-connection-age-grace-seconds", "5"),
            module=soak.module,
        )
        stack.push_async_callback(fleet.kill)
        users = await stack.enter_async_context(client_process("benchmarks.chaos_users"))
        visitors = await stack.enter_async_context(client_process("benchmarks.soak_visitors"))
        await asyncio.gather(fleet.start(), users.expect("ready"), visitors.expect("ready"))
        prometheus = stack.enter_context(running_prometheus(folder, fleet.http_targets))
        watched_since = time.time()
        watching = asyncio.create_task(fleet.watch())
        stack.callback(watching.cancel)
        await users.tell(json.dumps(_users_plan(soak, fleet, soaked.replies)))
        await visitors.tell(json.dumps(_visitors_plan(soak, fleet)))
        soaked.settled_since = await _live(soak, fleet, folder, (users, visitors))
        # What was answered last must survive, too: every replica leaves once more, then everybody reads.
        await fleet.roll()
        async with asyncio.timeout(_LAST_READS_SECONDS):
            await asyncio.gather(users.tell(""), visitors.tell(""))
            soaked.users = json.loads(await users.line())["users"]
            soaked.visited = json.loads(await visitors.line())
        await asyncio.sleep(_LAST_SCRAPE_SECONDS)
        await asyncio.to_thread(_look, prometheus, soaked, time.time() - watched_since)
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await fleet.leave()
        soaked.lives, soaked.reloads, soaked.complaints = fleet.lives, fleet.reloads, fleet.complaints
    return soaked


async def _live(soak: Soak, fleet: Fleet, folder: Path, clients: tuple[ClientProcess, ...]) -> float:
    """Users work, replicas are restarted, models replaced, until the time is over; the first failure ends it. Tells
    since when no server was restarted any more.
    """
    begun = time.monotonic()
    contents = iter(range(1, 1_000_000))

    def replace() -> None:
        """Changes the weights in one move, so that nobody reads half of them."""
        fresh = folder / "fresh.safetensors"
        shutil.copyfile(content(folder, next(contents) % CONTENTS) / "model.safetensors", fresh)
        os.replace(fresh, folder / "models" / MODEL / "1" / "model.safetensors")

    async def restart() -> float:
        await fleet.keep_restarting(begun + RESTARTING_SHARE * soak.seconds, soak.restart_pause_seconds)
        return time.monotonic()

    async with asyncio.TaskGroup() as tasks:
        restarting = tasks.create_task(restart())
        tasks.create_task(
            fleet.keep_reloading(begun + REPLACING_SHARE * soak.seconds, soak.reload_pause_seconds, replace)
        )
        for client in clients:
            tasks.create_task(client.expect("ran"))
    return restarting.result()


def _look(prometheus: Prometheus, soaked: Soaked, seconds: float) -> None:
    """Which alerts there were, at any time, and how many operations were bad, all the time."""
    window = f"[{int(seconds) + 1}s]"
    for state, alerts in (("firing", soaked.firing), ("pending", soaked.pending)):
        found = prometheus.now(f'max by (alertname) (max_over_time(ALERTS{{alertstate="{state}"}}{window}))')
        alerts.update(each.labels["alertname"] for each in found)
    for objective in OBJECTIVES:
        # The comparison leaves out what is no number: the share among no operations.
        if found := prometheus.now(f"{objective.recorded('1h')} >= 0"):
            soaked.shares[objective.name] = found[0].values[-1][1]
    scrapes = prometheus.now(f"sum(sum_over_time(up{window}))")
    soaked.scrapes = int(scrapes[0].values[0][1]) if scrapes else 0


def _users_plan(soak: Soak, fleet: Fleet, replies: Path) -> dict[str, Any]:
    """See `chaos_users.Plan`. Half of the connections begin with one replica, half with the other."""
    targets = [fleet.target(0), fleet.target(1)]
    return {
        "names": [f"soak-{number}" for number in range(soak.sessions)],
        "targets": targets,
        "unary_targets": targets[1:],
        "models": list(MODELS),
        "vocabulary": VOCABULARY,
        "sync": False,
        "seconds": soak.seconds,
        "replies": str(replies),
        "wave": {"mean_pause_seconds": 0.4, "period_seconds": _WAVE_SECONDS},
    }


def _visitors_plan(soak: Soak, fleet: Fleet) -> dict[str, Any]:
    """See `soak_visitors.Plan`."""
    return {
        "target": fleet.target(0),
        "seconds": soak.seconds,
        "documents": {"mean_pause_seconds": 0.04, "period_seconds": 1.7 * _WAVE_SECONDS},
        "generations": {"mean_pause_seconds": 0.5, "period_seconds": 1.3 * _WAVE_SECONDS},
        "sessions": {"mean_pause_seconds": 0.5, "period_seconds": _WAVE_SECONDS},
    }
