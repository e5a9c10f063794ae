"""Pictures of the results, each with its finding as the title."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.report_engine_targets import NOISE
from benchmarks.report_online_plots import latency, throughput
from benchmarks.report_results import Results, chosen, machine
from benchmarks.report_style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    SKY,
    bars,
    logarithmic,
    picture,
    sessions_axis,
)


def draw_all(results: Results, folder: Path) -> Iterator[Path]:
    """Draws them; the files."""
    for name, draw in _PICTURES.items():
        file = folder / f"{name}.png"
        draw(results, file)
        yield file


def _cost(results: Results, file: Path) -> None:
    rows = results["scaling"]["results"]["cost"]
    with picture(file, f"{machine(results['scaling'])}; one thread, no RPC", panels=1) as (axes,):
        colours = {"R1": ORANGE, "R2": BLUE}
        for row in rows:
            batches = [int(batch) for batch in row["us_per_step"]]
            style = "o-" if row["way"] == "engine" else "s--"
            what = "engine" if row["way"] == "engine" else "with the sessions above it"
            axes.plot(
                batches,
                list(row["us_per_step"].values()),
                style,
                color=colours[row["shape"]],
                label=f"{row['shape']}, {what}",
            )
        shares = " and ".join(f"1/{1 / row['at_64_over_at_1']:.0f}" for row in rows if row["way"] == "engine")
        axes.set_title(f"At 64 sessions a step costs {shares} of what it costs alone")
        sessions_axis(axes, batches, "sessions in a tick")
        axes.set_ylabel("processor time of a step, microseconds")
        logarithmic(axes)
        axes.legend()


def _idle(results: Results, file: Path) -> None:
    rows = [row for row in results["scaling"]["results"]["idle"] if "turn_ratio" in row]
    counts = sorted({row["idle_sessions"] for row in rows})
    with picture(file, machine(results["scaling"])) as (time_axes, memory_axes):
        for place, colour, marker in (("live", BLUE, "o"), ("packed", ORANGE, "s")):
            found = chosen(rows, place=place)
            x = [row["idle_sessions"] for row in found]
            time_axes.plot(
                x,
                [row["turn_ratio"] for row in found],
                marker + "-",
                color=colour,
                label=f"{place}: tick of 64 others",
            )
            time_axes.plot(
                x,
                [row["write_ratio"] for row in found],
                marker + ":",
                color=colour,
                label=f"{place}: write of one other",
            )
            memory_axes.plot(
                x,
                [row["bytes_per_session"] * row["idle_sessions"] / 1e9 for row in found],
                marker + "-",
                color=colour,
                label=place,
            )
        time_axes.axhline(1, color=GREY, linewidth=1)
        time_axes.set_ylim(0, 2)
        worst = max(max(row["turn_ratio"], row["write_ratio"]) for row in rows)
        told = "cost the others no time" if worst <= NOISE else f"cost the others up to {worst - 1:.0%}"
        time_axes.set_title(f"Up to {counts[-1]:,} idle sessions {told}")
        time_axes.set_ylabel("processor time over that beside 1,000")
        memory_axes.set_title("They cost bytes")
        memory_axes.set_ylabel("memory, GB")
        logarithmic(memory_axes)
        for axes in (time_axes, memory_axes):
            axes.set_xscale("log")
            axes.set_xticks(counts, [f"{count:,}" for count in counts])
            axes.minorticks_off()
            axes.set_xlabel("idle sessions")
            axes.legend()


def _mixed(results: Results, file: Path) -> None:
    rows = results.part("mixed", part="mixed")
    groups = [f"{row['sessions']} sessions" for row in rows]
    flood = results.part("mixed", part="flood")
    with picture(file, machine(results["mixed"]), panels=3) as (online, documents, flooded):
        both = {
            "alone": [row["online_alone"]["p99_ms"] for row in rows],
            "beside documents": [row["online_beside_documents"]["p99_ms"] for row in rows],
        }
        bars(online, groups, both, (BLUE, ORANGE), "{:.1f}")
        worst = max(row["p99_ratio"] for row in rows)
        online.set_title(f"Documents raise the p99 at most {worst:.1f} times")
        online.set_ylabel("p99 of sessions, ms")
        rates = {
            "alone": [row["documents_per_second_alone"] for row in rows],
            "beside sessions": [row["documents_per_second_beside_online"] for row in rows],
        }
        bars(documents, groups, rates, (BLUE, ORANGE), "{:.0f}")
        kept = " and ".join(f"{row['documents_kept']:.0%}" for row in rows)
        documents.set_title(f"Documents keep {kept} of their rate")
        documents.set_ylabel("documents per second")
        for row in flood:
            values = {
                "alone": [row["online_alone"]["p99_ms"]],
                "beside a flood": [row["online_beside_flood"]["p99_ms"]],
                "a tick meanwhile": [row["tick_ms"]],
            }
            bars(flooded, [f"{row['sessions']} sessions"], values, (BLUE, RED, GREY), "{:.1f}")
            rise = row["p99_rise_in_ticks"]
            told = f"raises it by {rise:.1f} ticks" if rise > 0 else "does not raise it"
            flooded.set_title(f"A client that floods {told}")
        flooded.set_ylabel("p99 of the others, ms")
        for axes in (online, documents, flooded):
            axes.legend(loc="upper left")


def _offline(results: Results, file: Path) -> None:
    rows = results.part("offline")
    with picture(file, machine(results["offline"]), panels=1) as (axes,):
        series = {
            "ideal loop in process": [row["ideal"]["documents_per_second_by_the_clock"] for row in rows],
            "engine's lane in process": [row["lane"]["documents_per_second_by_the_clock"] for row in rows],
            "through the server": [row["service"]["documents_per_second"] for row in rows],
        }
        names = [f"{row['mix']}, {row['mean_steps']:.0f} steps on average" for row in rows]
        bars(axes, names, series, (GREY, SKY, BLUE), "{:,.0f}")
        share = rows[0]["service"]["over_ideal_by_the_clock"]
        axes.set_title(f"The server reaches {share:.0%} of an ideal loop's rate on R3")
        axes.set_ylabel("documents per second, by the clock")
        axes.legend()


def _precision(results: Results, file: Path) -> None:
    rows = results["precision"]["precision"]
    batches = sorted({row["batch"] for row in rows})
    with picture(file, machine(results["precision"]), panels=1) as (axes,):
        shapes = dict.fromkeys(row["shape"] for row in rows)
        series = {
            shape: [chosen(rows, shape=shape, batch=batch)[0]["ratio"] for batch in batches]
            for shape in shapes
        }
        bars(axes, [str(batch) for batch in batches], series, (GREEN, ORANGE, BLUE), "{:.1f}")
        axes.axhline(1, color=GREY, linewidth=1)
        alone = min(ratios[0] for ratios in series.values()), max(ratios[0] for ratios in series.values())
        axes.set_title(f"8-bit weights: {alone[0]:.1f} to {alone[1]:.1f} times the speed for one session")
        axes.set_xlabel("sessions in a tick")
        axes.set_ylabel("speed of int8 over float32")
        axes.legend()


_PICTURES: dict[str, Callable[[Results, Path], None]] = {
    "throughput": throughput,
    "latency": latency,
    "cost": _cost,
    "idle-sessions": _idle,
    "mixed": _mixed,
    "offline": _offline,
    "precision": _precision,
}
