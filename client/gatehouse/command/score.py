"""`gatehouse score`: how likely the documents in files are under a language model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import click

from gatehouse.command.document_run import Reading, Run, document_command, kind_of, shortest
from gatehouse.command.step_records import step_records

if TYPE_CHECKING:
    from gatehouse.client import Client
    from gatehouse.command.document_reading import Source
    from gatehouse.documents import Document
    from gatehouse.models import Model
    from gatehouse.results import DocumentResult, DocumentStep


@document_command
@click.option("--model", metavar="NAME", default="keyboard", show_default=True, help="The model.")
@click.option("--every-step", is_flag=True, help="Also of each token.")
def score(run: Run, model: str, every_step: bool) -> Reading[DocumentResult]:
    """Tell how likely the documents in FILEs are under a language model. Files are as for `gatehouse classify`.

    Each result is one line of JSON: id, log_likelihood (natural logarithm, the sum over all tokens), tokens (how many)
    and perplexity; with --every-step also steps, each with log_probability, text, start and end.
    """

    def call(client: Client, documents: Iterator[Document]) -> Iterator[DocumentResult]:
        return client.score(
            documents, model=model, every_step=every_step, truncate=run.truncate, in_order=run.in_order
        )

    def record(result: DocumentResult, source: Source) -> Mapping[str, object]:
        told = _figures(result)
        if every_step:
            told["steps"] = step_records(result, source, _log_probability)
        return told

    return Reading(model=model, refusal=_refusal, call=call, record=record, keeps_text=every_step)


def _refusal(model: Model) -> str | None:
    return None if model.task == "language_model" else f"{kind_of(model)}, not a language model"


def _figures(result: DocumentResult) -> dict[str, object]:
    likelihood, tokens = result.log_likelihood, result.step_count
    if likelihood is None or not tokens:
        return {"log_likelihood": None, "tokens": tokens, "perplexity": None}
    mean = -likelihood / tokens
    return {
        "log_likelihood": shortest(likelihood),
        "tokens": tokens,
        "perplexity": shortest(math.exp(mean)) if mean < 700 else None,  # beyond that no float holds it
    }


def _log_probability(step: DocumentStep) -> Mapping[str, object]:
    return {"log_probability": shortest(step.log_probability)}
