"""`gatehouse evaluate`: how good a served model is on a file."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import click

from gatehouse.command.failure import ALL_GOOD, SOME_FAILED, Failure, failures_told
from gatehouse.command.files import FORMATS, InputFile
from gatehouse.command.progress import Progress, shown
from gatehouse.command.rows import LABEL_COLUMNS, TEXT_COLUMNS, check_columns
from gatehouse.command.target import target_option

if TYPE_CHECKING:
    from gatehouse.models import Model


@click.command()
@click.argument("model")
@click.argument("file")
@click.option("--label", "label_column", metavar="COLUMN", help="Column of labels. Default: label.")
@click.option("--text", "text_column", metavar="COLUMN", help="Column of texts. Default: text or abstract.")
@click.option("--format", "file_format", type=click.Choice(FORMATS), help="Default: by name.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@target_option
@click.pass_context
def evaluate(
    ctx: click.Context,
    model: str,
    file: str,
    label_column: str | None,
    text_column: str | None,
    file_format: str | None,
    as_json: bool,
    target: str,
) -> None:
    """Measure MODEL on FILE, through the server.

    A language model is measured on sentences, one a line (.txt; of tables and .jsonl the text column):
    perplexity, and how often the next token is the first, or among the first three, of those proposed. A
    classifier is measured on labelled texts (.tsv, .csv, .jsonl): accuracy, and the mean of the labels' F1.
    Files may be .gz.

    Exit codes: 0 all good, 1 some lines could not be used (they are not in the figures), 2 could not run.
    """
    from gatehouse.client import Client

    with failures_told(target):
        with Client(target) as client:
            described = client.get_model(model)
        source = InputFile(file, file_format, standard_input_format="txt")
        check_columns(source, text_column, TEXT_COLUMNS, "--text")
        if described.task == "classifier":
            check_columns(source, label_column, LABEL_COLUMNS, "--label")
            result, lines = _measure_classifier(target, described, source, text_column, label_column)
        elif described.task == "language_model":
            result, lines = _measure_language_model(target, described, source, text_column)
        else:
            raise Failure(
                f"{described.full_name} is a {described.task}; language models and classifiers only"
            )
    if as_json:
        print(json.dumps(result, ensure_ascii=False))
    else:
        print("\n".join(lines))
    ctx.exit(SOME_FAILED if result["failed"] else ALL_GOOD)


def _measure_language_model(
    target: str, model: Model, source: InputFile, text_column: str | None
) -> tuple[dict[str, object], list[str]]:
    from gatehouse.command.language_evaluation import measure

    progress = Progress("sentences", [source])
    with shown(progress, results_on_stdout=False):
        figures = asyncio.run(measure(target, model, source, text_column, progress))
    result = {
        "model": model.full_name,
        "task": model.task,
        "perplexity": figures.perplexity,
        "top_1": figures.top_1,
        "top_3": figures.top_3,
        "tokens": figures.tokens,
        "unknown_tokens": figures.unknown_tokens,
        "sentences": figures.sentences,
        "failed": progress.failed,
        "seconds": round(progress.seconds, 3),
    }
    lines = [
        f"{model.full_name} on {source.name}: {figures.sentences:,} sentences, {figures.tokens:,} tokens "
        f"({figures.unknown_tokens:,} unknown)",
        f"perplexity  {figures.perplexity:.3f}",
        f"top 1       {figures.top_1:.2%}",
        f"top 3       {figures.top_3:.2%}",
        progress.summary(),
    ]
    return result, lines


def _measure_classifier(
    target: str, model: Model, source: InputFile, text_column: str | None, label_column: str | None
) -> tuple[dict[str, object], list[str]]:
    from gatehouse.command.classifier_evaluation import measure

    progress = Progress("documents", [source])
    with shown(progress, results_on_stdout=False):
        figures = measure(target, model, source, text_column, label_column, progress)
    result = {
        "model": model.full_name,
        "task": model.task,
        "accuracy": figures.accuracy,
        "macro_f1": figures.macro_f1,
        "documents": figures.documents,
        "labels": {
            label: {"precision": of.precision, "recall": of.recall, "f1": of.f1, "documents": of.documents}
            for label, of in figures.by_label.items()
        },
        "failed": progress.failed,
        "seconds": round(progress.seconds, 3),
    }
    width = max((len(label) for label in figures.by_label), default=0) + 2
    lines = [
        f"{model.full_name} on {source.name}: {figures.documents:,} documents",
        f"accuracy  {figures.accuracy:.4f}",
        f"macro F1  {figures.macro_f1:.4f}",
        "",
        f"{'':{width}} precision  recall      F1  documents",
        *(
            f"{label:{width}} {of.precision:9.3f} {of.recall:7.3f} {of.f1:7.3f} {of.documents:10,}"
            for label, of in figures.by_label.items()
        ),
        progress.summary(),
    ]
    return result, lines
