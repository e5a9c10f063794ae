"""The section on sessions of docs/performance.md."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.report_markdown import table, whole
from benchmarks.report_results import Results, Row, machine

_REGIMES = ("streams", "multiplexed", "unary")


def online(results: Results) -> Iterator[str]:
    """The section."""
    yield from ("", "## Sessions", "")
    yield "![Steps per second by sessions](images/throughput.png)"
    yield ""
    yield "![Latency](images/latency.png)"
    for shape in results.shapes:
        yield from ("", f"### {shape}", "", f"{machine(results[f'online-{shape}'])}.", "")
        yield "Steps per second and p99 in ms, closed loop. `plain` is the better of one and two threads."
        yield ""
        yield from _closed_table(results, shape)
        yield from ("", "Ratios, and microseconds of processor time for a step, server and client:", "")
        yield from _ratio_table(results, shape)
        variants = list(_variant_rows(results, shape))
        if variants:
            yield from (
                "",
                "Other variants, times the plain server with a stream each (over one stream):",
                "",
            )
            sessions = [f"{count} session{'s' * (count > 1)}" for count in results.sessions_of(shape)]
            yield from table(("variant", *sessions), variants)
        opened = list(_open_rows(results, shape))
        if opened:
            yield from (
                "",
                "Open loop, Poisson arrivals at a share of the closed loop's rate, ms from when due:",
                "",
            )
            heading = ("sessions", "regime", "load", "steps/s", "p50", "p95", "p99", "p99.9")
            yield from table(heading, opened, left=2)


def _closed_table(results: Results, shape: str) -> Iterator[str]:
    rows = []
    for sessions in results.sessions_of(shape):
        cells = [str(sessions), _rate(results.plain(shape, sessions))]
        cells += [_rate(results.closed(shape, sessions, regime)) for regime in _REGIMES]
        (inside,) = results.online(shape, sessions=sessions, server="none")
        cells.append(f"{inside['engine_steps_per_second']['float32']:,.0f}")
        cells += [_rate(results.echo(shape, sessions, regime)) for regime in ("streams", "multiplexed")]
        rows.append(cells)
    heading = ("sessions", "plain", *_REGIMES, "engine in process", "echo, streams", "echo, multiplexed")
    return table(heading, rows)


def _ratio_table(results: Results, shape: str) -> Iterator[str]:
    rows = []
    for sessions in results.sessions_of(shape):
        for regime in _REGIMES:
            row = results.closed(shape, sessions, regime)
            if row is not None:
                ratios = (row.get("over_plain"), row.get("over_engine"), row.get("over_echo"))
                told = ["" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
                cpu = (row["server_cpu_us_per_step"], row["client_cpu_us_per_step"])
                rows.append([str(sessions), regime, *told, *(f"{each:,.0f}" for each in cpu)])
    heading = ("sessions", "regime", "of plain", "of engine", "of echo", "server, us", "client, us")
    return table(heading, rows, left=2)


def _variant_rows(results: Results, shape: str) -> Iterator[list[str]]:
    rows = results.online(shape, server="gatehouse", loop="closed")
    variants = dict.fromkeys((row["precision"], row["compute_threads"]) for row in rows)
    for precision, threads in variants:
        if (precision, threads) == ("float32", 1):
            continue
        cells = [f"{precision}, {threads} compute thread{'s' * (threads > 1)}"]
        for sessions in results.sessions_of(shape):
            found = [
                results.closed(shape, sessions, regime, precision=precision, compute_threads=threads)
                for regime in ("streams", "multiplexed")
            ]
            told = [f"{row['over_plain']:.2f}" for row in found if row is not None and "over_plain" in row]
            cells.append(f"{told[0]} ({told[1]})" if len(told) == 2 else "")
        yield cells


def _open_rows(results: Results, shape: str) -> Iterator[list[str]]:
    for row in sorted(
        results.online(shape, server="gatehouse", loop="open"),
        key=lambda row: (row["sessions"], _REGIMES.index(row["regime"]), row["load"]),
    ):
        shown = [f"{row[name]:.1f}" for name in ("p50_ms", "p95_ms", "p99_ms", "p99.9_ms")]
        yield [str(row["sessions"]), row["regime"], f"{row['load']:.0%}", whole(row), *shown]


def _rate(row: Row | None) -> str:
    return "" if row is None else f"{whole(row)} ({row['p99_ms']:.1f})"
