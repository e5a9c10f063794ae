"""Pictures of the compared cells: what gates are for, and what cells are worth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from matplotlib.axes import Axes

from benchmarks.cells_kinds import CAUSAL
from benchmarks.cells_training import Equal
from benchmarks.report_cells_claims import FAR_BACK
from benchmarks.report_cells_results import EQUALS, CellResults, name_of
from benchmarks.report_results import Results, machine
from benchmarks.report_style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, bars, picture
from training.cells.network import Kind

_COLOURS: Mapping[Kind, str] = {
    "rnn": ORANGE,
    "lstm": BLUE,
    "gru": GREEN,
    "cifg": SKY,
    "peephole": PURPLE,
    "bilstm": BLACK,
}
_DASHED: Mapping[Kind, str] = {"cifg": "--", "peephole": "-.", "bilstm": ":"}
_LEAST_SHARE = 1e-16
_TOLD: tuple[Kind, ...] = ("rnn", "lstm")
_SHORT: Mapping[Kind, str] = {
    "rnn": "vanilla\nRNN",
    "lstm": "LSTM",
    "gru": "GRU",
    "cifg": "CIFG",
    "peephole": "peephole\nLSTM",
    "bilstm": "bidir.\nLSTM",
}


def draw_all(results: Results, folder: Path) -> Iterator[Path]:
    """Draws them; the files."""
    for name, draw in _PICTURES.items():
        file = folder / f"{name}.png"
        draw(CellResults.of(results), file)
        yield file


def _gradients(results: CellResults, file: Path) -> None:
    with picture(file, machine(results.file["training"]), height=4.8) as (before, after):
        for axes, when in ((before, "before"), (after, "after")):
            for kind in results.kinds("topics"):
                shares = results.gradient(kind, when)
                axes.plot(
                    range(len(shares)),
                    shares,
                    _DASHED.get(kind, "-"),
                    color=_COLOURS[kind],
                    label=name_of(kind),
                )
            axes.set_yscale("log")
            axes.set_ylim(_LEAST_SHARE, 3)
            axes.set_xlim(0, len(shares) - 1)
            axes.set_xlabel("words before the end of the text, where the loss is")
            told = ", ".join(
                f"{name_of(kind)} {results.gradient(kind, when)[FAR_BACK]:.1g}" for kind in _TOLD
            )
            title = "Untrained" if when == "before" else "Trained"
            axes.set_title(f"{title}, {FAR_BACK} words back: {told}")
        before.set_ylabel("norm of the gradient by the state, relative (median text)")
        before.legend(loc="lower left")


def _glance(results: CellResults, file: Path) -> None:
    with picture(file, machine(results.file["training"]), panels=3, height=4.4) as (words, topics, speed):
        perplexity = _pairs(words, list(CAUSAL), partial(results.figure, "keyboard"), "{:.1f}")
        share = perplexity["rnn"] / perplexity["lstm"]
        words.set_title(f"Short sentences: vanilla RNN at {share:.0%} of LSTM's perplexity")
        words.set_ylabel("perplexity, next word (less is better)")
        accuracy = _pairs(
            topics,
            results.kinds("topics"),
            lambda kind, equal: 100 * results.figure("topics", kind, equal),
            "{:.0f}",
        )
        gated = [value for kind, value in accuracy.items() if kind != "rnn"]
        topics.set_title(
            f"64 words: vanilla RNN {accuracy['rnn']:.0f}% right, with gates {min(gated):.0f} to {max(gated):.0f}%"
        )
        topics.set_ylabel("accuracy, class of an abstract, %")
        model = results.models[-1]
        step = _pairs(
            speed,
            list(CAUSAL),
            lambda kind, equal: results.timed(kind, equal, model)["step_us"]["64"] / 64,
            "{:.1f}",
        )
        speed.set_title(
            f"{model} units: GRU takes {step['gru'] / step['lstm']:.0%} of LSTM's time, peepholes "
            f"{step['peephole'] / step['lstm']:.0%}"
        )
        speed.set_ylabel("microseconds a step, 64 sessions in a tick")
        words.legend(loc="upper left")


def _pairs(
    axes: Axes, kinds: list[Kind], value: Callable[[Kind, Equal], float], form: str
) -> dict[Kind, float]:
    """Bars of both sizes of each kind; returns the values of equal units."""
    values: dict[Equal, dict[Kind, float]] = {
        equal: {kind: value(kind, equal) for kind in kinds} for equal in EQUALS
    }
    series = {f"as many {what} as the LSTM": list(values[equal].values()) for equal, what in EQUALS.items()}
    bars(axes, [_SHORT[kind] for kind in kinds], series, (BLUE, GREY), form)
    return values["size"]


_PICTURES: dict[str, Callable[[CellResults, Path], None]] = {
    "cells-gradients": _gradients,
    "cells": _glance,
}
