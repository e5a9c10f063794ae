"""`gatehouse predict`: the values of a regression for the documents in files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import click

from gatehouse.command.document_run import Reading, Run, document_command, kind_of
from gatehouse.command.step_records import numbers, step_records

if TYPE_CHECKING:
    from gatehouse.client import Client
    from gatehouse.command.document_reading import Source
    from gatehouse.documents import Document
    from gatehouse.models import Model
    from gatehouse.results import DocumentResult, DocumentStep


@document_command
@click.option("--model", metavar="NAME", required=True, help="The model, a regression.")
@click.option(
    "--every-step", is_flag=True, help="The values of each step, not of the last one or the whole document."
)
def predict(run: Run, model: str, every_step: bool) -> Reading[DocumentResult]:
    """Write the values that a regression gives the documents in FILEs, which are as for `gatehouse classify`.

    Each result is one line of JSON: id and values; with --every-step id and steps, each with its values.
    """

    def call(client: Client, documents: Iterator[Document]) -> Iterator[DocumentResult]:
        return client.classify(
            documents,
            model=model,
            every_step=every_step,
            vector=True,
            truncate=run.truncate,
            in_order=run.in_order,
        )

    def refusal(described: Model) -> str | None:
        if described.task != "regressor":
            return f"{kind_of(described)}, not a regressor"
        if every_step and described.pooling:
            return (
                f"pools whole documents ({', '.join(described.pooling)}), so it has no values for each step"
            )
        return None

    def record(result: DocumentResult, source: Source) -> Mapping[str, object]:
        if every_step:
            return {"steps": step_records(result, source, _values)}
        return {"values": numbers(result.vector)}

    return Reading(model=model, refusal=refusal, call=call, record=record, keeps_text=every_step)


def _values(step: DocumentStep) -> Mapping[str, object]:
    return {"values": numbers(step.vector)}
