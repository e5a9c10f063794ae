"""Rounds of closed loops over all servers in turn, and open loops at rates that follow from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from benchmarks.load_process import LoadProcess, Ran, run_together
from benchmarks.online_load import Regime, Steps
from benchmarks.online_servers import Server, Variant
from benchmarks.server_metrics import Ticks, samples_of, ticks_between

REGIMES = ("streams", "multiplexed", "unary", "plain", "echo", "open")
OPEN_LOADS = (0.5, 0.8)

MOST_SINGLE_CALLS = 256
"""With a thousand single calls in flight on a connection, gRPC cancelled some of them: that is what streams are for."""

_GATEHOUSE: tuple[Regime, ...] = ("streams", "multiplexed", "unary")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure, and for how long."""

    regimes: tuple[str, ...]
    seconds: float
    rounds: int
    main: Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One way to send steps to one server. `load` is the share of the closed loop's rate, None for a closed loop."""

    server: Server
    regime: Regime
    sessions: int
    load: float | None
    seconds: float
    latencies: list[float]
    late: list[float]
    server_cpu_seconds: float
    client_cpu_seconds: float
    ticks: Ticks | None = None

    @property
    def loop(self) -> Literal["closed", "open"]:
        """Whether the sessions waited for their answers."""
        return "closed" if self.load is None else "open"

    @property
    def steps_per_second(self) -> float:
        """The rate in the measured time."""
        return len(self.latencies) / self.seconds


def measure(
    plan: Plan, servers: Sequence[Server], clients: Sequence[LoadProcess], sessions: int
) -> list[Measured]:
    """All regimes with so many sessions."""
    best: dict[tuple[Server, Regime], Measured] = {}
    for _ in range(plan.rounds):
        for server, regime in _closed_loops(plan, servers, sessions):
            asked = Steps(regime=regime, sessions=sessions, model=server.model)
            found = _run(server, asked, clients, plan.seconds, None)
            known = best.get((server, regime))
            if known is None or found.steps_per_second > known.steps_per_second:
                best[server, regime] = found
    measured = list(best.values())
    if "open" in plan.regimes:
        for load in OPEN_LOADS:
            for (server, regime), closed in best.items():
                if _is_main(plan, server):
                    per_second = load * closed.steps_per_second
                    asked = Steps(regime=regime, sessions=sessions, model=server.model, per_second=per_second)
                    measured.append(_run(server, asked, clients, plan.seconds, load))
    return measured


def _closed_loops(plan: Plan, servers: Sequence[Server], sessions: int) -> Iterator[tuple[Server, Regime]]:
    for regime in _GATEHOUSE:
        if regime == "unary" and sessions > MOST_SINGLE_CALLS:
            continue
        for server in servers:
            if server.kind == "plain":
                asked = "plain" in plan.regimes and regime == "streams"
            elif server.kind == "echo":
                asked = "echo" in plan.regimes and regime in plan.regimes
            else:
                asked = regime in plan.regimes and (regime != "unary" or _is_main(plan, server))
            if asked:
                yield server, regime


def _is_main(plan: Plan, server: Server) -> bool:
    return server.kind == "gatehouse" and server.variant == plan.main


def _run(
    server: Server, asked: Steps, clients: Sequence[LoadProcess], seconds: float, load: float | None
) -> Measured:
    used = clients[: asked.sessions]
    shares = [asked.sessions // len(used) + (n < asked.sessions % len(used)) for n in range(len(used))]
    loads = [
        (
            client,
            replace(
                asked,
                sessions=share,
                per_second=None if asked.per_second is None else asked.per_second * share / asked.sessions,
            ),
            server.process.target,
        )
        for client, share in zip(used, shares, strict=True)
    ]
    before = samples_of(server.process) if server.kind == "gatehouse" else None
    ran, (server_cpu,) = run_together(loads, seconds, [server.process.pid])
    ticks = None if before is None else ticks_between(before, samples_of(server.process))
    if not any(each.told["latency_us"] for each in ran):
        raise RuntimeError(f"{server.facts}, {asked}: no step in {seconds} s; measure for longer")
    return Measured(
        server=server,
        regime=asked.regime,
        sessions=asked.sessions,
        load=load,
        seconds=seconds,
        latencies=[latency for each in ran for latency in each.latencies],
        late=[late for each in ran for late in _late(each)],
        server_cpu_seconds=server_cpu,
        ticks=ticks,
        client_cpu_seconds=sum(each.cpu_seconds for each in ran),
    )


def _late(ran: Ran) -> list[float]:
    return [each / 1e6 for each in ran.told.get("late_us", ())]
