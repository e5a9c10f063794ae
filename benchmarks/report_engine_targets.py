"""Targets of the engine: what idle sessions and company cost, reproducible answers, a GPU."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.report_results import Results
from benchmarks.report_verdict import MESSAGES, Verdict

NOISE = 1.10
"""Of a ratio that should be 1."""


def idle(results: Results) -> Iterator[Verdict]:
    """Sessions that do nothing."""
    for place in ("live", "packed"):
        rows = [row for row in results["scaling"]["results"]["idle"] if row["place"] == place]
        measured = [row for row in rows if "turn_ratio" in row]
        most = max(measured, key=lambda row: row["idle_sessions"])
        met = max(most["turn_ratio"], most["write_ratio"]) <= NOISE
        yield Verdict(
            what=f"{most['idle_sessions']:,} idle sessions ({place}): a tick (a single write) over beside a thousand",
            target="unchanged within noise",
            measured=f"{most['turn_ratio']:.2f} ({most['write_ratio']:.2f})",
            met=met and most["idle_sessions"] >= 1_000_000,
            cause="Sessions fill the caches, or other programs used the machine."
            if most["idle_sessions"] >= 1_000_000
            else "No more sessions were measured in this run.",
        )


def cost(results: Results) -> Iterator[Verdict]:
    """Steps in company."""
    for row in results["scaling"]["results"]["cost"]:
        if row["way"] != "engine":
            continue
        rise = row["greatest_rise"]
        at = max(row["rise_at_doubling"], key=lambda batch: float(row["rise_at_doubling"][batch]))
        yield Verdict(
            what=f"{row['shape']}, cost of a step as the batch doubles, 1 to {list(row['us_per_step'])[-1]}",
            target="never more than 1.10 ×",
            measured=f"at most {rise:.2f} × (at {at})",
            met=rise <= 1.10,
            cause="A tile of 128 rows is full there, or other programs used the machine: see the table below.",
        )
        share = row["at_64_over_at_1"]
        yield Verdict(
            what=f"{row['shape']}, cost of a step at 64 over at 1",
            target="at most 1/5",
            measured=f"1/{1 / share:.1f}",
            met=share <= 0.2,
            cause="A step alone is already cheap: see the table below.",
        )


def reproducible(results: Results) -> Iterator[Verdict]:
    """What the setting costs where it is one."""
    for file in results.engines():
        device = str(file.get("device", "cpu"))
        measured = [row for row in file["results"] if "steps_per_second" in row]
        rows = {(row["shape"], row["batch"], row["precision"]): row for row in measured}
        costs = {
            key: 1
            - row["steps_per_second"]["engine"] / rows[key[0], key[1], name]["steps_per_second"]["engine"]
            for key, row in rows.items()
            if (name := str(key[2]).removesuffix("+reproducible")) != key[2]
            and (key[0], key[1], name) in rows
        }
        if costs:
            worst = max(costs, key=lambda key: costs[key])
            yield Verdict(
                what=f"bit-for-bit reproducible answers as a setting ({device}): cost in the engine",
                target="at most 15 %",
                measured=f"at most {costs[worst]:.0%} ({worst[0]}, {worst[1]} sessions, {worst[2]})",
                met=costs[worst] <= 0.15,
                cause="Rows are multiplied in tiles of one size.",
            )


def gpu(results: Results) -> Iterator[Verdict]:
    """One GPU, where it was measured."""
    found = {
        (row["batch"], row["precision"]): row["fraction_of_floor"]["engine"]
        for file in results.engines("cuda")
        for row in file["results"]
        if row["shape"] == "R1" and row.get("batch") in (256, 4096)
    }
    told = ", ".join(f"{precision} {batch}: {share:.0%}" for (batch, precision), share in found.items())
    met = min(found.values()) >= 0.6 if found else None
    yield Verdict(
        what="H200, R1 engine, batch 256 and 4096: of the larger one of FLOP and byte floors",
        target="at least 60 %",
        measured=told or "not measured",
        met=met,
        cause="Python makes jobs and reads answers between two ticks.",
    )
    rates = [
        row["steps_per_second"]
        for file in results.files.values()
        if file.get("benchmark") == "online" and file.get("device") == "cuda"
        for row in file["results"]
        if row["server"] == "gatehouse"
    ]
    yield Verdict(
        what="H200, steps per second through one server process",
        target="at least 150,000",
        measured=f"{max(rates):,.0f}" if rates else "not measured",
        met=max(rates) >= 150_000 if rates else None,
        cause=MESSAGES,
    )
