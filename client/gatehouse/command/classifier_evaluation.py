"""Accuracy and F1 of a served classifier on labelled texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import click

from gatehouse.client import Client
from gatehouse.command.failure import Failure
from gatehouse.command.files import InputFile
from gatehouse.command.progress import Progress
from gatehouse.command.rows import LABEL_COLUMNS, TEXT_COLUMNS, BadRow, pick_column, rows
from gatehouse.command.unusable_lines import tell_unusable
from gatehouse.models import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFigures:
    """How one label fares: F1 is the harmonic mean of precision and recall, each 0 where it has nothing to
    divide.
    """

    precision: float
    recall: float
    f1: float
    documents: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierFigures:
    """`macro_f1` is the plain mean of F1 over the labels that occur, as truth or as answer."""

    accuracy: float
    macro_f1: float
    documents: int
    by_label: Mapping[str, LabelFigures]


def figures_of(pairs: Counter[tuple[str, str]]) -> ClassifierFigures:
    """The figures of counted (true label, answered label) pairs, at least one."""
    true, answered, right = Counter[str](), Counter[str](), Counter[str]()
    for (label, answer), count in pairs.items():
        true[label] += count
        answered[answer] += count
        if label == answer:
            right[label] += count
    by_label = {
        label: LabelFigures(
            precision=_share(right[label], answered[label]),
            recall=_share(right[label], true[label]),
            f1=_share(2 * right[label], true[label] + answered[label]),
            documents=true[label],
        )
        for label in sorted(true | answered)
    }
    return ClassifierFigures(
        accuracy=_share(right.total(), pairs.total()),
        macro_f1=sum(figures.f1 for figures in by_label.values()) / len(by_label),
        documents=pairs.total(),
        by_label=by_label,
    )


def measure(
    target: str,
    model: Model,
    source: InputFile,
    text_column: str | None,
    label_column: str | None,
    progress: Progress,
) -> ClassifierFigures:
    """Classifies every row and compares. Failure when not one could be used."""
    labels: dict[str, str] = {}
    lines: dict[str, int] = {}
    strangers: set[str] = set()

    def documents() -> Iterator[tuple[str, str]]:
        for row in rows(source):
            progress.read += 1
            try:
                if isinstance(row, BadRow):
                    raise row
                text = row.text_of(pick_column(row, text_column, TEXT_COLUMNS, "--text"))
                label = row.text_of(pick_column(row, label_column, LABEL_COLUMNS, "--label"))
            except BadRow as bad:
                tell_unusable(source, bad.line, bad.reason, progress)
                continue
            number = str(row.line)
            labels[number], lines[number] = label, row.line
            if label not in model.labels and label not in strangers:
                strangers.add(label)
                click.echo(
                    f"{source.name}, line {row.line}: {label!r} is not a label of {model.full_name}; "
                    "no answer can be right",
                    err=True,
                )
            yield number, text

    pairs: Counter[tuple[str, str]] = Counter()
    with Client(target) as client:
        for result in client.classify(documents(), model=model.full_name, k=1):
            label, line = labels.pop(result.id), lines.pop(result.id)
            if result.label is None:
                reason = result.error.message if result.error is not None else "the answer has no label"
                tell_unusable(source, line, reason, progress)
            else:
                pairs[label, result.label] += 1
                progress.done += 1
    if not pairs:
        raise Failure(f"{source.name}: has no labelled text that could be classified")
    return figures_of(pairs)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
