"""The card of one training run: what the model is, what it was made from, how well it does."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.report import hardware, plot_losses, write_card

from .export import folder_bytes
from .measures import Figures
from .plan import Progress

NAIVE_BAYES_ACCURACY = 0.909
CONFUSIONS_SHOWN = 8

DATA = """
Abstracts of papers on arXiv, in 12 classes by primary category: 2,000 training and 250 validation documents
a class. Papers listed in two of the classes were left out, as were duplicates and abstracts outside 40 to
400 words.
Source: staeiou/arxiv_archive at f043eb1d (arXiv metadata 1993-2019, Zenodo 10.5281/zenodo.1463242).

Licence: the descriptive metadata of arXiv is CC0 1.0 (https://info.arxiv.org/help/api/tou.html); no
attribution is required, and the weights carry no further condition.
"""

METHOD = """
Tokenizer: lower-case words without accents, LaTeX commands whole, every number one `0`, `$` as the mark of a
formula, no other punctuation. First word vectors: positive pointwise mutual information of the training text,
factorised. Targets: the label, smoothed, mixed with the opinion of a linear classifier on words and word
pairs that had not seen the document (held out by folds). A second head over the finer arXiv categories helps
in training and is not stored. Each epoch shows another version of each document: with or without its title,
cropped, words dropped or made unknown. Weights are an exponential average; the epoch of the best validation
accuracy is kept, so that figure leans to the optimistic side: the validation documents chose the epoch.
"""

LIMITS = """
The scores are of 12 fields and always sum to one: a text of another field gets one of them all the same.
The model knows abstracts of 40 to 400 English words; a title alone, or a text of another kind, is answered
less surely.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What the card tells of the run itself."""

    command: Sequence[str]
    parameters: Mapping[str, object]
    progress: Progress
    weights: int
    threads: int


def figure_table(result: Figures, teacher: Figures, title_figures: Figures) -> str:
    """The overall figures beside the two baselines."""
    return "\n".join(
        [
            "On the 3,000 validation documents, the abstract alone, with the stored float16 weights:",
            "",
            "| classifier | accuracy | macro F1 | loss (nats) |",
            "| --- | ---: | ---: | ---: |",
            f"| **this model** | **{result.accuracy:.4f}** | **{result.macro_f1:.4f}** | {result.loss:.4f} |",
            f"| softmax regression, words and word pairs | {teacher.accuracy:.4f} | {teacher.macro_f1:.4f} "
            f"| {teacher.loss:.4f} |",
            f"| naive Bayes, 20,000 words (on other documents of the same source) "
            f"| {NAIVE_BAYES_ACCURACY:.3f} | not measured | not measured |",
            "| chance | 0.083 | | |",
            "",
            f"With the title before the abstract: accuracy {title_figures.accuracy:.4f}, "
            f"macro F1 {title_figures.macro_f1:.4f}.",
        ]
    )


def class_table(result: Figures, labels: Sequence[str]) -> str:
    """Precision, recall and F1 of each class, then the most frequent confusions."""
    lines = ["| class | precision | recall | F1 |", "| --- | ---: | ---: | ---: |"]
    for place, label in enumerate(labels):
        values = (result.precision[place], result.recall[place], result.f1[place])
        lines.append(f"| {label} | " + " | ".join(f"{value:.3f}" for value in values) + " |")
    errors = [
        (int(result.confusion[true, answer]), labels[true], labels[answer])
        for true in range(len(labels))
        for answer in range(len(labels))
        if true != answer
    ]
    lines += ["", "Most frequent confusions:", ""]
    for count, true_label, answer_label in sorted(errors, reverse=True)[:CONFUSIONS_SHOWN]:
        lines.append(f"- {true_label}, answered {answer_label}: {count}")
    return "\n".join(lines)


def run_section(run: Run) -> str:
    """Command, time, hardware and parameters."""
    minutes = run.progress.elapsed_seconds / 60
    lines = [
        "```sh",
        shlex.join(run.command),
        "```",
        "",
        f"- {run.progress.epoch} epochs, {run.progress.step} steps, {minutes:.0f} minutes of training; "
        f"the weights of epoch {run.progress.best_epoch} were kept",
        f"- hardware: {hardware()}; {run.threads} thread(s)",
        f"- weights stored: {run.weights:,}",
    ]
    lines += [f"- {name.replace('_', ' ')}: {value}" for name, value in run.parameters.items()]
    return "\n".join(lines)


def write_report(
    folder: Path, *, labels: Sequence[str], result: Figures, teacher: Figures, titled: Figures, run: Run
) -> None:
    """Write loss.png and card.md beside the model's other files."""
    progress = run.progress
    plot_losses(
        folder / "loss.png",
        progress.train_loss,
        progress.valid_loss,
        "topics: class loss per epoch (training with dropout and varied documents)",
        best_x=float(progress.best_epoch),
    )
    summary = (
        "A bidirectional LSTM that reads a whole abstract of a scientific paper and names its field, one of "
        f"{len(labels)}. The files beside this card take {folder_bytes(folder) / 1e6:.2f} MB."
    )
    sections = [
        ("Figures", figure_table(result, teacher, titled)),
        ("By class", class_table(result, labels)),
        ("Data and licence", DATA),
        ("Method", METHOD),
        ("Limits", LIMITS),
        ("The run", run_section(run) + "\n\n![loss](loss.png)"),
    ]
    write_card(folder / "card.md", title="topics", summary=summary, sections=sections)
