"""`gatehouse transduce`: other sequences made of texts, of the lines of a pipe, or of the documents in files."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from gatehouse.command.count import Count
from gatehouse.command.document_run import Reading, Run, document_options, kind_of, run_documents
from gatehouse.command.failure import ALL_GOOD, SOME_FAILED, Failure, failures_told
from gatehouse.command.files import InputFile

if TYPE_CHECKING:
    from gatehouse.client import Client
    from gatehouse.command.document_reading import Source
    from gatehouse.documents import Document
    from gatehouse.models import Model
    from gatehouse.transductions import Transduction


@click.command()
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@click.option("--model", metavar="NAME", default="dates", show_default=True, help="The model.")
@click.option(
    "--beam-size",
    type=Count(),
    default=1,
    show_default=True,
    help="How many hypotheses to follow. 1 takes the likeliest token each time.",
)
@click.option(
    "--length-penalty",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="alpha of ((5 + length) / 6)^alpha, by which log-probabilities are divided.",
)
@click.option(
    "--alternatives",
    type=Count(),
    default=1,
    show_default=True,
    help="How many of the best outputs to write.",
)
@click.option(
    "--max-output-steps",
    type=Count(),
    help="Most tokens of an output. Default: the server's limit.",
)
@click.option("--json", "as_json", is_flag=True, help="Of texts: print JSON, one object a line.")
@click.option(
    "--file", "files", metavar="FILE", multiple=True, help="Read documents there. May be given again."
)
@document_options
def transduce(
    ctx: click.Context,
    texts: tuple[str, ...],
    model: str,
    beam_size: int,
    length_penalty: float,
    alternatives: int,
    max_output_steps: int | None,
    as_json: bool,
    **shared: Any,
) -> None:
    """Make other sequences of TEXTs, by a model that has an encoder and a decoder: a line for each, with its
    alternatives separated by tabs. Without TEXT and --file, each line in gives one line out.

    With --file, documents are read as by `gatehouse classify`, and each result is one line of JSON: id, text,
    log_probability, score and ended, and alternatives where more than one is asked for. The options of files and
    columns are for that.

    Exit codes: 0 all good, 1 some texts or documents failed, 2 could not run or go on, 3 stopped by --max-failures.
    """
    run = Run(ctx=ctx, **shared)
    options: dict[str, Any] = {
        "model": model,
        "beam_size": beam_size,
        "length_penalty": length_penalty,
        "alternatives": alternatives,
        "max_output_steps": max_output_steps,
        "truncate": run.truncate,
    }
    if alternatives > beam_size:
        raise Failure(
            f"--alternatives {alternatives}: a beam of {beam_size} has no more than {beam_size}; widen it"
        )
    if run.files and texts:
        raise Failure("give texts or --file, not both")

    def call(client: Client, documents: Iterator[Document]) -> Iterator[Transduction]:
        return client.transduce(documents, in_order=run.in_order, **options)

    if run.files:
        run_documents(run, Reading(model=model, refusal=_refusal, call=call, record=_record))
        return
    if not texts and sys.stdin.isatty():
        raise Failure('nothing to do: gatehouse transduce "3 march 2021"')
    ctx.exit(_transduce_texts(run.target, texts, options, as_json=as_json))


def _transduce_texts(target: str, texts: tuple[str, ...], options: dict[str, Any], *, as_json: bool) -> int:
    """A line for each text; what failed is told apart. The exit code."""
    from gatehouse.client import Client

    under_way: dict[str, str] = {}

    def numbered(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
        for number, line in enumerate(lines, start=1):
            under_way[str(number)] = line
            yield str(number), line

    code = ALL_GOOD
    standard_input = InputFile("-", "txt", standard_input_format="txt")
    lines = texts or (line.rstrip("\r\n") for line in standard_input.lines())
    with failures_told(target), Client(target) as client:
        described = client.get_model(options["model"])
        refusal = _refusal(described)
        if refusal is not None:
            raise Failure(f"{options['model']} {refusal}. See `gatehouse models list`")
        for result in client.transduce(numbered(lines), in_order=True, **options):
            text = under_way.pop(result.id)
            if result.error is not None:
                code = SOME_FAILED
                click.echo(f"{text[:40]!r}: {result.error.message}", err=True)
                # A pipe's reader counts lines: each in gives one out.
                print(
                    json.dumps({"input": text, "error": result.error.message}) if as_json else "", flush=True
                )
            elif as_json:
                print(json.dumps({"input": text, **_as_dict(result)}, ensure_ascii=False), flush=True)
            else:
                print("\t".join(each.text for each in result.hypotheses), flush=True)
    return code


def _refusal(model: Model) -> str | None:
    return None if model.task in ("", "transducer") else f"{kind_of(model)}, not a transducer"


def _record(result: Transduction, source: Source) -> Mapping[str, object]:
    return _as_dict(result)


def _as_dict(result: Transduction) -> dict[str, object]:
    told: list[dict[str, object]] = [
        {
            "text": each.text,
            "log_probability": each.log_probability,
            "score": each.score,
            "ended": each.ended,
        }
        for each in result.hypotheses
    ]
    best = told[0] if told else {}
    return best | ({"alternatives": told} if len(told) > 1 else {})
