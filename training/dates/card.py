"""The card of one training run: what the model is, what it was made from, how well it does."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.report import hardware, plot_losses, write_card

from .export import folder_bytes
from .loop import Progress
from .measures import Figures
from .spelling import KINDS

WRONG_SHOWN = 8

DATA = """
Made by the recipe itself, without any source: each day from 1900 to 2099 is written in one of many ways, in
numbers (`3/14/2021`, `14.3.21`, `20210314`, `14/03/2021 (UK)`), with the name of the month (`Mar 14th, '21`,
`the 14th of march 2021`, `2021-mar-14`), or in words (`the fourteenth of March, twenty twenty-one`), with or without a
weekday. Names of five letters and more are misspelt now and then: a letter left out, doubled, or exchanged with the
next one. One weekday in ten is the wrong one; the date counts.

Days were split at random: 90 % for training, 5 % to look at during training, 5 % held back. No day is in two of
the parts, however it is written. Every step of the training draws new spellings. As nobody else's data went in,
the weights carry no condition but the licence of the project.

What the model takes for granted: with slashes the month comes first, unless `(UK)` follows or there is no such month;
with dots or dashes the day comes first, unless the year does; a year of two digits lies between 1969 and 2068.
"""

METHOD = """
Word pieces in (whole words that days are written with, single digits, any other word by its letters), characters
out. A GRU reads in both directions; a dense layer with tanh makes the first state of the writing GRU of what both
directions end in; that one writes character by character, greedily or with a beam. No attention: the whole day has to
pass through the state.
"""

LIMITS = """
It reads days written in English and nothing else. A text without a day gets one all the same. Its log-probability is
then often near -1, where that of a day is near 0, but that is no proof of anything. A day that does not exist may be
written as it stands, as 2021-02-31. Other centuries, times of the day, ranges and words such as "tomorrow" were never
shown to it.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What the card tells of the run itself."""

    command: Sequence[str]
    parameters: Mapping[str, object]
    progress: Progress
    weights: int


def figure_table(readers: Mapping[str, Figures]) -> str:
    """A line for each reader, the first of which is the model."""
    first = next(iter(readers.values()))
    lines = [
        f"Exact matches among {first.examples:,} spellings of days that were held back, the weights as stored:",
        "",
        f"| reader | all | {' | '.join(KINDS)} |",
        "| --- | " + " | ".join(["---:"] * (1 + len(KINDS))) + " |",
    ]
    for name, figures in readers.items():
        kinds = " | ".join(f"{figures.by_kind[kind]:.4f}" for kind in KINDS)
        lines.append(f"| {name} | {figures.exact:.4f} | {kinds} |")
    return "\n".join(lines)


def wrong_table(figures: Figures) -> str:
    """The first spellings that were not read right."""
    if not figures.wrong:
        return "None of them was read wrong."
    lines = ["| written | the day | read |", "| --- | --- | --- |"]
    lines += [
        f"| {example.text} | {example.day} | {read or 'nothing'} |"
        for example, read in figures.wrong[:WRONG_SHOWN]
    ]
    return "\n".join(lines)


def run_section(run: Run) -> str:
    """Command, time, hardware and parameters."""
    minutes = run.progress.processor_seconds / 60
    lines = [
        "```sh",
        shlex.join(run.command),
        "```",
        "",
        f"- {run.progress.steps[-1]:.0f} steps, {minutes:.0f} minutes of one core",
        f"- hardware: {hardware()}; 1 thread",
        f"- weights: {run.weights:,}, stored as float16",
    ]
    lines += [f"- {name.replace('_', ' ')}: {value}" for name, value in run.parameters.items()]
    return "\n".join(lines)


def write_report(folder: Path, *, readers: Mapping[str, Figures], run: Run) -> None:
    """Write loss.png and card.md beside the model's other files."""
    progress = run.progress
    plot_losses(
        folder / "loss.png",
        progress.train_loss,
        progress.valid_loss,
        "dates: loss per character",
        train_x=progress.steps,
        valid_x=progress.steps,
        x_label="step",
    )
    model = next(iter(readers.values()))
    summary = (
        "An encoder and a decoder that write a day as YYYY-MM-DD, however people write it in English. "
        f"The files beside this card take {folder_bytes(folder) / 1e6:.2f} MB."
    )
    sections = [
        (
            "Figures",
            f"{figure_table(readers)}\n\nThe first that it read wrong:\n\n{wrong_table(model)}\n\n{BASELINE.strip()}",
        ),
        ("Data and licence", DATA),
        ("Method", METHOD),
        ("Limits", LIMITS),
        ("The run", run_section(run) + "\n\n![loss](loss.png)"),
    ]
    write_card(folder / "card.md", title="dates", summary=summary, sections=sections)


BASELINE = """
python-dateutil was told the order of day and month and the century of short years, which it can't know, and was
allowed to leave out words. It knows no numbers in words and no misspelt names; where neither occurs it does about as
well as the model, and it needs no training. The model is here to show the shape of the task, not to replace it.

`python -m training.dates --evaluate HOST:PORT` measures the same on what a server answers.
"""
