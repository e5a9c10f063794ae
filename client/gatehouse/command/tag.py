"""`gatehouse tag`: a label for each step of the documents in files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import click

from gatehouse.command.count import Count
from gatehouse.command.document_run import Reading, Run, document_command, kind_of, shortest
from gatehouse.command.step_records import step_records

if TYPE_CHECKING:
    from gatehouse.client import Client
    from gatehouse.command.document_reading import Source
    from gatehouse.documents import Document
    from gatehouse.models import Model
    from gatehouse.results import DocumentResult, DocumentStep


@document_command
@click.option(
    "--model", metavar="NAME", required=True, help="The model, a classifier that does not pool its steps."
)
@click.option(
    "-k",
    "k",
    type=Count(),
    default=1,
    show_default=True,
    help="How many labels to write of each step.",
)
def tag(run: Run, model: str, k: int) -> Reading[DocumentResult]:
    """Label each step of the documents in FILEs, which are as for `gatehouse classify`.

    Each result is one line of JSON: id and steps, each with label and score, and where they are of a text with text,
    start and end; with -k above 1 also scores by label.
    """

    def call(client: Client, documents: Iterator[Document]) -> Iterator[DocumentResult]:
        return client.tag(documents, model=model, k=k, truncate=run.truncate, in_order=run.in_order)

    def labels(step: DocumentStep) -> Mapping[str, object]:
        record: dict[str, object] = {"label": step.label, "score": shortest(step.score)}
        if k > 1:
            record["scores"] = {entry.label: shortest(entry.score) for entry in step.scores}
        return record

    def record(result: DocumentResult, source: Source) -> Mapping[str, object]:
        return {"steps": step_records(result, source, labels)}

    return Reading(model=model, refusal=_refusal, call=call, record=record, keeps_text=True)


def _refusal(model: Model) -> str | None:
    if model.task != "classifier":
        return f"{kind_of(model)}, not a classifier"
    if model.pooling:
        return "gives whole documents a label, not their steps: use `gatehouse classify`"
    return None
