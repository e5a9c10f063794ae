"""`gatehouse encode`: vectors of the documents in files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import click

from gatehouse.command.document_run import Reading, Run, document_command
from gatehouse.command.step_records import numbers, step_records

if TYPE_CHECKING:
    from gatehouse.client import Client
    from gatehouse.command.document_reading import Source
    from gatehouse.documents import Document
    from gatehouse.models import Model
    from gatehouse.results import DocumentResult, DocumentStep


@document_command
@click.option("--model", metavar="NAME", required=True, help="The model.")
@click.option("--every-step", is_flag=True, help="A vector of each step, not of each document.")
def encode(run: Run, model: str, every_step: bool) -> Reading[DocumentResult]:
    """Turn the documents in FILEs into vectors: what the recurrent layers of a model hand on, pooled as the model pools
    it. Files are as for `gatehouse classify`.

    Each result is one line of JSON: id and vector; with --every-step id and steps, each with its vector, and where they
    are of a text with text, start and end.
    """

    def call(client: Client, documents: Iterator[Document]) -> Iterator[DocumentResult]:
        return client.encode(
            documents, model=model, every_step=every_step, truncate=run.truncate, in_order=run.in_order
        )

    def refusal(described: Model) -> str | None:
        if every_step and described.pooling:
            return (
                f"pools whole documents ({', '.join(described.pooling)}), so it has no vector for each step"
            )
        return None

    def record(result: DocumentResult, source: Source) -> Mapping[str, object]:
        if every_step:
            return {"steps": step_records(result, source, _vector)}
        return {"vector": numbers(result.hidden)}

    return Reading(model=model, refusal=refusal, call=call, record=record, keeps_text=every_step)


def _vector(step: DocumentStep) -> Mapping[str, object]:
    return {"vector": numbers(step.hidden)}
