"""What the commands have in common that send the documents of files through a model: options, results, failures."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TextIO, TypeVar

import click

from gatehouse.command.failed_documents import FailedDocuments
from gatehouse.command.failure import ALL_GOOD, SOME_FAILED, Failure, failures_told
from gatehouse.command.files import FORMATS, InputFile
from gatehouse.command.progress import Progress, shown
from gatehouse.command.rows import TEXT_COLUMNS, check_columns
from gatehouse.command.target import target_option

if TYPE_CHECKING:
    from gatehouse.client import Client
    from gatehouse.command.document_reading import Source
    from gatehouse.documents import Document
    from gatehouse.models import Model
    from gatehouse.results import DocumentResult
    from gatehouse.transductions import Transduction

ResultT = TypeVar("ResultT", bound="DocumentResult | Transduction")

_FILES = click.argument("files", nargs=-1, required=True, metavar="FILE...")
_OPTIONS = (
    click.option(
        "--id", "id_column", metavar="COLUMN", help="Column of ids. Default: id, or else the line number."
    ),
    click.option(
        "--text", "text_column", metavar="COLUMN", help="Column of texts. Default: text or abstract."
    ),
    click.option(
        "--features",
        "features_column",
        metavar="COLUMN",
        help="Of models that take features: field of .jsonl with a list of numbers for each step. Default: features.",
    ),
    click.option("--format", "file_format", type=click.Choice(FORMATS), help="Default: by name; - is jsonl."),
    click.option("-o", "--output", metavar="FILE", help="Where results go. Default: standard output."),
    click.option(
        "--errors",
        metavar="FILE",
        help="Where failed documents go. Default: OUTPUT.errors.jsonl or errors.jsonl.",
    ),
    click.option(
        "--in-order", is_flag=True, help="Write results in the order of the input, not as they finish."
    ),
    click.option(
        "--truncate", is_flag=True, help="Cut documents at the server's limit instead of refusing them."
    ),
    click.option(
        "--max-failures", type=click.IntRange(min=0), help="Stop when more documents than this failed."
    ),
    target_option,
    click.pass_context,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What was asked for on the command line."""

    ctx: click.Context
    files: tuple[str, ...]
    id_column: str | None
    text_column: str | None
    features_column: str | None
    file_format: str | None
    output: str | None
    errors: str | None
    in_order: bool
    truncate: bool
    max_failures: int | None
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading(Generic[ResultT]):
    """What one command makes of documents. `refusal` tells in one sentence why a model cannot do it, None when it can;
    `call` sends documents, `record` is what is written of a result, beside its id.
    """

    model: str
    refusal: Callable[[Model], str | None]
    call: Callable[[Client, Iterator[Document]], Iterator[ResultT]]
    record: Callable[[ResultT, Source], Mapping[str, object]]
    keeps_text: bool = False


def document_command(command: Callable[..., Reading[ResultT]]) -> click.Command:
    """A command over FILEs, from a function that makes a `Reading` of its own options. Others find theirs in `Run`."""

    @functools.wraps(command)
    def run(ctx: click.Context, **options: Any) -> None:
        shared = {name: options.pop(name) for name in Run.__dataclass_fields__ if name != "ctx"}
        asked = Run(ctx=ctx, **shared)
        run_documents(asked, command(run=asked, **options))

    return click.command()(_FILES(document_options(run)))


def document_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options of a `Run`, all but the files."""
    # click turns the list around: what is added last comes first in the help.
    own = command.__dict__.pop("__click_params__", [])
    for option in reversed(_OPTIONS):
        command = option(command)
    command.__dict__["__click_params__"] += own
    return command


def run_documents(run: Run, reading: Reading[ResultT]) -> None:
    """Sends the documents of the files through the model, and ends the command.

    Failure when that cannot be done at all.
    """
    inputs = [InputFile(path, run.file_format, standard_input_format="jsonl") for path in run.files]
    for file in inputs:
        if run.features_column is None:
            check_columns(file, run.text_column, TEXT_COLUMNS, "--text")
        if run.id_column is not None:
            check_columns(file, run.id_column, (), "--id")
    errors_path = _errors_path(run, inputs)
    progress = Progress("documents", inputs)
    with ExitStack() as stack:
        stack.enter_context(failures_told(run.target))
        from gatehouse.client import Client
        from gatehouse.command.document_reading import DocumentReader

        client = stack.enter_context(Client(run.target))
        model = client.get_model(reading.model)
        refusal = reading.refusal(model)
        if refusal is not None:
            raise Failure(f"{reading.model} {refusal}. See `gatehouse models list`")
        reader = DocumentReader(
            inputs,
            id_column=run.id_column,
            text_column=run.text_column,
            features_column=run.features_column,
            takes_features=run.features_column is not None or model.features is not None,
            keeps_text=reading.keeps_text,
        )
        out = stack.enter_context(_opened(run.output)) if run.output else sys.stdout
        failed = stack.enter_context(FailedDocuments(errors_path, limit=run.max_failures))
        with shown(progress, results_on_stdout=run.output is None):
            for result in reading.call(client, reader.documents(failed, progress)):
                source = reader.source_of(result)
                if result.error is not None:
                    failed.add(
                        document_id=source.id,
                        file=source.file,
                        line=source.line,
                        reason=result.error.reason or type(result.error).__name__,
                        message=result.error.message,
                    )
                else:
                    progress.done += 1
                    record = {"id": source.id, **reading.record(result, source)}
                    if result.truncated:
                        record["truncated"] = True
                    out.write(json.dumps(record, ensure_ascii=False) + "\n")
                    out.flush()
                progress.failed = failed.count
    progress.failed = failed.count
    where = f", see {failed.path}" if failed.count else ""
    click.echo(progress.summary() + where, err=True)
    run.ctx.exit(SOME_FAILED if failed.count else ALL_GOOD)


def _errors_path(run: Run, inputs: Sequence[InputFile]) -> Path:
    path = Path(run.errors or (f"{run.output}.errors.jsonl" if run.output else "errors.jsonl"))
    _check_apart(path, inputs, "--errors")
    if run.output:
        _check_apart(Path(run.output), inputs, "-o")
        if path.resolve() == Path(run.output).resolve():
            raise Failure(
                f"{run.output}: results and failed documents need a file each; choose another with --errors"
            )
    return path


def _check_apart(path: Path, inputs: Sequence[InputFile], option: str) -> None:
    """Failure for a file that would be written while it is read."""
    if any(file.path != "-" and path.exists() and path.samefile(file.path) for file in inputs):
        raise Failure(f"{path}: is an input file too; choose another with {option}")


def _opened(output: str) -> TextIO:
    try:
        return Path(output).open("w", encoding="utf-8")
    except OSError as error:
        raise Failure(f"{output}: cannot be written: {error.strerror}; choose another with -o") from error


def kind_of(model: Model) -> str:
    """What a model is, in words."""
    return f"is {'an' if model.task[:1] in 'aeiou' else 'a'} {model.task.replace('_', ' ')}"


def shortest(value: float | None) -> float | None:
    """A float32 value in as many digits as say something."""
    return None if value is None else float(f"{value:.7g}")
