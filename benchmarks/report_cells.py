"""The measured part of docs/cells.md, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.cells_kinds import CAUSAL, KINDS, TaskName
from benchmarks.cells_training import Equal
from benchmarks.report_cells_claims import ALIKE_ACCURACY, ALIKE_PERPLEXITY, FAR_BACK, claims
from benchmarks.report_cells_results import EQUALS, CellResults, name_of
from benchmarks.report_markdown import table
from benchmarks.report_page import with_measured_part
from benchmarks.report_results import Results, chosen, machine
from training.cells.network import Kind

_SAME = {True: "yes", False: "**no**", None: "in part"}
_BACK = (1, 10, 30, 60, 99)
_TITLES: dict[TaskName, str] = {"keyboard": "Next word of a sentence", "topics": "Class of an abstract"}


def rendered(page: str, results: Results) -> str:
    """The page with its measured part made anew. Raises ValueError when the page has no place for it."""
    return with_measured_part(page, _lines(CellResults.of(results)))


def _lines(results: CellResults) -> Iterator[str]:
    yield from _claims(results)
    yield from _quality(results)
    yield from _speed(results)
    yield from _gradients(results)
    yield from _rates(results)
    yield ""


def _claims(results: CellResults) -> Iterator[str]:
    yield from ("", "### Against the textbooks", "")
    yield "![Quality and speed](images/cells.png)"
    yield ""
    yield (
        f"Hidden sizes are equal where nothing else is said. Perplexities within {ALIKE_PERPLEXITY:.0%} and accuracies "
        f"within {100 * ALIKE_ACCURACY:.0f} points count as alike: with two seeds, networks of one kind differ by "
        f"{results.spread('keyboard'):.2f} in perplexity and {100 * results.spread('topics'):.1f} points on average."
    )
    yield ""
    rows = [(each.said, each.source, each.measured, _SAME[each.same]) for each in claims(results)]
    yield from table(("textbooks say", "source", "here", "the same here"), rows, left=4)


def _quality(results: CellResults) -> Iterator[str]:
    yield from ("", "### Quality and training", "", f"{machine(results.file['training'])}; one thread.", "")
    yield (
        "Time of an epoch: processor time of the quickest, over the LSTM's. Gatehouse computes what the trained "
        f"modules do to {_difference(results):.0e}."
    )
    for task, title in _TITLES.items():
        yield from ("", f"{title}:", "")
        yield from _task_table(results, task)


def _difference(results: CellResults) -> float:
    return max(float(row["largest_difference"]) for row in results.file["training"]["results"])


def _task_table(results: CellResults, task: TaskName) -> Iterator[str]:
    lstm = results.trained(task, "lstm", "size")
    rows = []
    for equal, what in EQUALS.items():
        for kind in results.kinds(task):
            row = results.trained(task, kind, equal)
            told = [
                f"{row['hidden_size']}",
                f"{row['parameters']:,}",
                f"{row['recurrent_parameters']:,}",
                f"{row['epoch_cpu_seconds'] / lstm['epoch_cpu_seconds']:.2f}",
            ]
            if task == "keyboard":
                told += [f"{row['perplexity']:.2f}", f"{row['top_1']:.1%}", f"{row['top_3']:.1%}"]
            else:
                told += [f"{row['accuracy']:.1%}", f"{row['loss']:.3f}"]
            rows.append([name_of(kind), what, *told])
    measures = ("perplexity", "top 1", "top 3") if task == "keyboard" else ("accuracy", "loss, nats")
    yield from table(
        ("cell", "equal", "units", "parameters", "recurrent ones", "epoch", *measures), rows, left=2
    )


def _speed(results: CellResults) -> Iterator[str]:
    yield from (
        "",
        "### Speed",
        "",
        f"{machine(results.file['speed'])}; one thread, no RPC, processor time.",
        "",
    )
    yield (
        "A step of the recurrent layer alone, for 1 and 64 sessions in a tick; steps per second of whole ticks of 64 "
        "sessions, with the five best next words; whole documents, 16 at a time. Compare rows: they were measured in "
        "turns. Most of a tick is the output layer, which is as wide for all of them."
    )
    for model in results.models:
        yield from ("", f"Beside an LSTM of {model} units:", "")
        yield from _speed_table(results, model)


def _speed_table(results: CellResults, model: int) -> Iterator[str]:
    rows = [
        [name_of(kind), what, *_timed(results, kind, equal, model)]
        for equal, what in EQUALS.items()
        for kind in KINDS
    ]
    heading = (
        "cell",
        "equal",
        "units",
        "step, 1, us",
        "step, 64, us",
        "ticks, steps/s",
        "documents, us a word",
    )
    yield from table(heading, rows, left=2)


def _timed(results: CellResults, kind: Kind, equal: Equal, model: int) -> list[str]:
    row = results.timed(kind, equal, model)
    document = f"{row['document_us_per_word']:.1f}"
    if kind not in CAUSAL:
        return [f"{row['hidden_size']}", "-", "-", "-", document]
    steps = [f"{row['step_us'][batch]:,.0f}" for batch in ("1", "64")]
    return [f"{row['hidden_size']}", *steps, f"{row['tick_steps_per_second']:,}", document]


def _gradients(results: CellResults) -> Iterator[str]:
    yield from ("", "### Gradients through time", "")
    yield "![How much of the gradient is left so many words back](images/cells-gradients.png)"
    yield ""
    yield (
        "The loss of the class, read off at the end of 100 words, differentiated by the state so many words before the "
        "end: the norm, relative to the greatest, of the median of 64 documents. Training saw 64 words."
    )
    yield ""
    rows = []
    for kind in results.kinds("topics"):
        for when in ("before", "after"):
            shares = results.gradient(kind, when)
            rows.append([name_of(kind), when, *(f"{shares[back]:.1g}" for back in _BACK)])
    yield from table(("cell", "training", *(f"{back} back" for back in _BACK)), rows, left=2)
    mean = {kind: results.gradient(kind, "after", "mean")[FAR_BACK] for kind in ("rnn", "lstm")}
    yield ""
    yield (
        f"Of the mean over the documents, {FAR_BACK} words back: vanilla RNN {mean['rnn']:.1g}, LSTM "
        f"{mean['lstm']:.1g}, both trained. A mean far above the median is the gradient of a few documents."
    )


def _rates(results: CellResults) -> Iterator[str]:
    yield from ("", "### Learning rates", "")
    yield "Loss on the held-out tenth of the training part, nats, by learning rate; the least one was taken."
    yield ""
    tuning = results.file["training"]["tuning"]
    rates = sorted({row["learning_rate"] for row in tuning})
    rows = []
    for task in _TITLES:
        for kind in dict.fromkeys(row["kind"] for row in chosen(tuning, task=task)):
            losses = [
                chosen(tuning, task=task, kind=kind, learning_rate=rate)[0]["held_out_loss"] for rate in rates
            ]
            shown = [f"**{loss:.3f}**" if loss == min(losses) else f"{loss:.3f}" for loss in losses]
            rows.append([task, name_of(kind), *shown])
    yield from table(("task", "cell", *(f"{rate:g}" for rate in rates)), rows, left=2)
