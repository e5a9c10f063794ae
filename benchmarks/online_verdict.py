"""The rows of `benchmarks.online`: what was measured, and its ratios to the rest of the same run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gatehouse_server.network.arithmetic import Precision

from benchmarks.bare_step import BareStep
from benchmarks.latencies import percentiles
from benchmarks.online_rounds import Measured

Row = dict[str, Any]


def in_process_row(bare: BareStep, sessions: int) -> Row:
    """The step without a service."""
    return {
        "server": "none",
        "sessions": sessions,
        "batch": bare.batch,
        "lstm_us": _microseconds(bare.lstm_seconds),
        "engine_us": {name: _microseconds(seconds) for name, seconds in bare.engine_seconds.items()},
        "engine_steps_per_second": {
            name: round(bare.batch / seconds, 1) for name, seconds in bare.engine_seconds.items()
        },
    }


def verdict(measured: Sequence[Measured], bare: BareStep) -> list[Row]:
    """A row for each measurement, all of one number of sessions."""
    plain = [each for each in measured if each.server.kind == "plain"]
    best_plain = max(plain, key=lambda each: each.steps_per_second, default=None)
    echoes = {each.regime: each for each in measured if each.server.kind == "echo"}
    return [_row(each) | _ratios(each, best_plain, echoes.get(each.regime), bare) for each in measured]


def _row(each: Measured) -> Row:
    steps = max(1, len(each.latencies))
    row: Row = {
        **each.server.facts,
        "regime": each.regime,
        "sessions": each.sessions,
        "loop": each.loop,
        "steps": len(each.latencies),
        "steps_per_second": round(each.steps_per_second, 1),
        **percentiles(each.latencies),
        "server_cpu_us_per_step": _microseconds(each.server_cpu_seconds / steps),
        "client_cpu_us_per_step": _microseconds(each.client_cpu_seconds / steps),
        "server_cores": round(each.server_cpu_seconds / each.seconds, 2),
        "client_cores": round(each.client_cpu_seconds / each.seconds, 2),
    }
    if each.ticks is not None:
        row["sessions_in_a_tick"] = round(each.ticks.mean_sessions, 1)
    if each.load is not None:
        row["load"] = each.load
        row["sent_late_ms"] = {name: percentiles(each.late)[name] for name in ("p50_ms", "p99_ms")}
    return row


def _ratios(each: Measured, plain: Measured | None, echo: Measured | None, bare: BareStep) -> Row:
    """Of a closed loop of Gatehouse; nothing else has any."""
    if each.server.kind != "gatehouse" or each.load is not None:
        return {}
    rate = each.steps_per_second
    ratios: Row = {}
    if plain is not None:
        ratios["over_plain"] = round(rate / plain.steps_per_second, 2)
        ratios["p99_over_plain"] = round(_ms(each, "p99_ms") / _ms(plain, "p99_ms"), 2)
        ratios["cpu_over_plain"] = round(_cpu_per_step(plain) / _cpu_per_step(each), 2)
        ratios["plain_compute_threads"] = plain.server.compute_threads
    precision = each.server.precision
    assert precision is not None, "Gatehouse has a precision"
    engine_seconds = bare.engine_seconds[precision]
    ratios["over_engine"] = round(rate * engine_seconds / bare.batch, 3)
    if echo is not None:
        ratios["over_echo"] = round(rate / echo.steps_per_second, 3)
        if each.sessions == 1:
            ratios["one_step"] = _one_step(each, echo, bare, precision)
    return ratios


def _one_step(each: Measured, echo: Measured, bare: BareStep, precision: Precision) -> Row:
    p50, echo_p50 = _ms(each, "p50_ms"), _ms(echo, "p50_ms")
    steps = {"lstm": 1000 * bare.lstm_seconds, "engine": 1000 * bare.engine_seconds[precision]}
    rested = {"lstm": bare.rested_seconds["lstm"], "engine": bare.rested_seconds[precision]}
    ratios = {f"over_echo_and_{name}": round(p50 / (echo_p50 + step), 2) for name, step in steps.items()}
    return {
        "echo_p50_ms": echo_p50,
        **{f"{name}_ms": round(step, 3) for name, step in steps.items()},
        **{f"rested_{name}_ms": round(1000 * seconds, 3) for name, seconds in rested.items()},
        **ratios,
        "ratio": round(p50 / (echo_p50 + min(steps.values())), 2),
        "ratio_rested": round(p50 / (echo_p50 + 1000 * min(rested.values())), 2),
    }


def _cpu_per_step(each: Measured) -> float:
    """Processor seconds of both sides."""
    return (each.server_cpu_seconds + each.client_cpu_seconds) / len(each.latencies)


def _ms(each: Measured, name: str) -> float:
    return percentiles(each.latencies)[name]


def _microseconds(seconds: float) -> float:
    return round(1e6 * seconds, 1)
