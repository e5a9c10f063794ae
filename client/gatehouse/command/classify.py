"""`gatehouse classify`: documents from files to one JSON object a line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import click

from gatehouse.command.count import Count
from gatehouse.command.document_run import Reading, Run, document_command, kind_of, shortest

if TYPE_CHECKING:
    from gatehouse.client import Client
    from gatehouse.command.document_reading import Source
    from gatehouse.documents import Document
    from gatehouse.models import Model
    from gatehouse.results import DocumentResult


@document_command
@click.option("--model", metavar="NAME", default="topics", show_default=True, help="The model.")
@click.option("-k", "k", type=Count(), help="How many labels to write, best first. Default: all.")
def classify(run: Run, model: str, k: int | None) -> Reading[DocumentResult]:
    """Classify the documents in FILEs: .jsonl, .tsv, .csv (with a header), .txt (a document a line), each
    also .gz, or - for standard input.

    Each result is one line of JSON: id, label, score, and scores by label, best first.

    Exit codes: 0 all good, 1 some documents failed, 2 could not run or go on, 3 stopped by --max-failures.
    """

    def call(client: Client, documents: Iterator[Document]) -> Iterator[DocumentResult]:
        return client.classify(documents, model=model, k=k, truncate=run.truncate, in_order=run.in_order)

    return Reading(model=model, refusal=_refusal, call=call, record=_record)


def _refusal(model: Model) -> str | None:
    if not model.task or model.task == "classifier":
        return None
    return f"{kind_of(model)}, not a classifier"


def _record(result: DocumentResult, source: Source) -> Mapping[str, object]:
    return {
        "label": result.label,
        "score": shortest(result.score),
        "scores": {entry.label: shortest(entry.score) for entry in result.scores},
    }
