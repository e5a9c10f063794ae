"""The measured part of docs/performance.md, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.report_markdown import table, whole
from benchmarks.report_online import online
from benchmarks.report_page import with_measured_part
from benchmarks.report_results import Results, chosen, machine
from benchmarks.report_targets import verdicts

_MET = {True: "yes", False: "**no**", None: "-"}


def rendered(page: str, results: Results) -> str:
    """The page with its measured part made anew. Raises ValueError when the page has no place for it."""
    return with_measured_part(page, _lines(results))


def _lines(results: Results) -> Iterator[str]:
    yield from _expectations(results)
    yield from _targets(results)
    yield from online(results)
    yield from _engine(results)
    yield from _scaling(results)
    yield from _offline(results)
    yield from _mixed(results)


def _expectations(results: Results) -> Iterator[str]:
    yield from ("", "## What to expect", "")
    yield f"On {machine(results['online-R2'])}, client on the same cores:"
    yield ""
    for shape, what in (("R1", "16.5 MFLOP and 35 MB of weights a step"), ("R2", "a keyboard's model, 6 MB")):
        together, each = results.closed(shape, 256, "multiplexed"), results.closed(shape, 256, "streams")
        if together and each:
            yield (
                f"- {shape} ({what}), 256 sessions: {whole(together)} steps/s over one stream, {whole(each)} with a "
                f"stream each; {together['over_plain']:.1f} and {each['over_plain']:.1f} times a plain server."
            )
    one = results.closed("R2", 1, "streams")
    if one:
        yield f"- One session alone, R2: p50 {one['p50_ms']:.2f} ms, p99 {one['p99_ms']:.2f} ms."
    for row in results.part("offline"):
        yield (
            f"- Documents, {row['mix']} ({row['what']}, {row['mean_steps']:.0f} steps on average): "
            f"{row['service']['documents_per_second']:,.0f} a second through the server."
        )
    for row in results.part("mixed", part="mixed"):
        yield (
            f"- {row['sessions']} sessions beside documents flat out: their p99 is {row['p99_ratio']:.1f} times that "
            f"alone, and {row['documents_kept']:.0%} of the documents are left."
        )
    idle = [row for row in results["scaling"]["results"]["idle"] if "turn_ratio" in row]
    for place in ("live", "packed"):
        most = max(chosen(idle, place=place), key=lambda row: int(row["idle_sessions"]))
        yield (
            f"- {most['idle_sessions']:,} idle sessions ({place}) take {most['bytes_per_session']:,} bytes each, and a "
            f"tick of others beside them {most['turn_ratio']:.2f} times its time."
        )


def _targets(results: Results) -> Iterator[str]:
    yield from ("", "## Targets", "")
    yield "Each is a ratio within one run. `no` has its cause beside it."
    yield ""
    rows = [
        (each.what, each.target, each.measured, _MET[each.met], each.cause if each.met is False else "")
        for each in verdicts(results)
    ]
    yield from table(("what", "target", "measured", "met", "cause"), rows, left=5)


def _engine(results: Results) -> Iterator[str]:
    yield from ("", "## The engine in process")
    for file in results.engines():
        yield from ("", f"{machine(file)}.", "")
        yield (
            "Steps per second in a tick of so many sessions, without RPC. The floor is the larger one of reading the "
            "weights once and of the matrix products alone, as measured beside it."
        )
        yield ""
        rows = []
        for row in file["results"]:
            rates = row.get("steps_per_second")
            if rates is not None:
                shown = [f"{rates[way]:,}" if way in rates else "" for way in ("lstm", "fused", "engine")]
                floor = f"{row['fraction_of_floor']['engine']:.0%}"
                rows.append([row["shape"], row["precision"], str(row["batch"]), *shown, floor])
        heading = (
            "shape",
            "precision",
            "sessions",
            "`nn.LSTM`",
            "fused by hand",
            "engine",
            "of the floor's speed",
        )
        yield from table(heading, rows, left=2)


def _scaling(results: Results) -> Iterator[str]:
    scaling = results["scaling"]
    yield from ("", "## As sessions grow", "", f"{machine(scaling)}; one thread, no RPC.", "")
    yield "![Cost of a step by batch](images/cost.png)"
    yield ""
    yield "Microseconds of processor time for a step when so many sessions share a tick:"
    yield ""
    cost = scaling["results"]["cost"]
    batches = list(cost[0]["us_per_step"])
    rows = [
        [f"{row['shape']}, {row['way']}", *(f"{row['us_per_step'][batch]:,.0f}" for batch in batches)]
        for row in cost
    ]
    yield from table(("", *batches), rows)
    yield from ("", "![Idle sessions](images/idle-sessions.png)", "")
    yield "Idle sessions of shape R2 after one write (live) or with 50 tokens (packed), and 64 others that write:"
    yield ""
    heading = (
        "idle",
        "",
        "bytes each",
        "tick, ms",
        "over beside 1,000",
        "write alone, ms",
        "over beside 1,000",
    )
    rows = []
    for row in scaling["results"]["idle"]:
        if "turn_ratio" in row:
            turn, write = row["turn"]["p50_ms"], row["write"]["p50_ms"]
            shown = (f"{turn:.2f}", f"{row['turn_ratio']:.2f}", f"{write:.2f}", f"{row['write_ratio']:.2f}")
            rows.append([f"{row['idle_sessions']:,}", row["place"], f"{row['bytes_per_session']:,}", *shown])
    yield from table(heading, rows, left=2)


def _offline(results: Results) -> Iterator[str]:
    yield from (
        "",
        "## Documents",
        "",
        f"{machine(results['offline'])}.",
        "",
        "![Documents](images/offline.png)",
        "",
    )
    yield "Documents per second. Ideal and lane have one thread, by its processor time; the server is by the clock."
    yield ""
    rows = []
    for row in results.part("offline"):
        lane, service = row["lane"], row["service"]
        rows.append(
            [
                f"{row['mix']}: {row['what']}",
                f"{row['mean_steps']:.0f}",
                f"{row['ideal']['documents_per_second']:,.0f}",
                f"{lane['documents_per_second']:,.0f} ({lane['over_ideal']:.0%})",
                f"{service['documents_per_second']:,.0f} ({service['over_ideal_by_the_clock']:.0%})",
                f"{lane['computed_per_useful_step']:.2f}",
                f"{service['memory_bytes']['grown'] / 1e6:,.0f}",
            ]
        )
    heading = ("mix", "steps", "ideal", "lane", "server", "computed / useful", "server's memory grew, MB")
    yield from table(heading, rows)


def _mixed(results: Results) -> Iterator[str]:
    yield from (
        "",
        "## Both together",
        "",
        f"{machine(results['mixed'])}.",
        "",
        "![Both](images/mixed.png)",
        "",
    )
    rows = []
    for row in results.part("mixed", part="mixed"):
        alone, beside = row["online_alone"], row["online_beside_documents"]
        documents = (row["documents_per_second_alone"], row["documents_per_second_beside_online"])
        latencies = (alone["p50_ms"], beside["p50_ms"], alone["p99_ms"], beside["p99_ms"])
        rows.append(
            [str(row["sessions"]), *(f"{each:.1f}" for each in latencies), *(f"{n:,.0f}" for n in documents)]
        )
    heading = ("R2 sessions", "p50, ms", "beside", "p99, ms", "beside", "R3 documents/s", "beside")
    yield from table(heading, rows)
    for row in results.part("mixed", part="flood"):
        alone, beside = row["online_alone"], row["online_beside_flood"]
        yield ""
        yield (
            f"A client that floods: {row['flooding_sessions']} sessions that write {row['flooding_write_steps']:,} "
            f"steps each without end. The p99 of {row['sessions']} other sessions is {alone['p99_ms']:.1f} ms alone "
            f"and {beside['p99_ms']:.1f} ms beside it; a tick takes {row['tick_ms']:.1f} ms meanwhile, with "
            f"{row['sessions_in_a_tick']:.0f} sessions in it."
        )
