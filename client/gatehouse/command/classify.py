"""`gatehouse classify`: documents from files to one JSON object a line."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from gatehouse.command.failed_documents import FailedDocuments
from gatehouse.command.failure import ALL_GOOD, SOME_FAILED, Failure, failures_told
from gatehouse.command.files import FORMATS, InputFile
from gatehouse.command.progress import Progress, shown
from gatehouse.command.rows import TEXT_COLUMNS, BadRow, Row, check_columns, pick_column, rows
from gatehouse.command.target import target_option

if TYPE_CHECKING:
    from gatehouse.results import Classification


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--model", metavar="NAME", default="topics", show_default=True, help="The model.")
@click.option(
    "--id", "id_column", metavar="COLUMN", help="Column of ids. Default: id, or else the line number."
)
@click.option("--text", "text_column", metavar="COLUMN", help="Column of texts. Default: text or abstract.")
@click.option("--format", "file_format", type=click.Choice(FORMATS), help="Default: by name; - is jsonl.")
@click.option("-o", "--output", metavar="FILE", help="Where results go. Default: standard output.")
@click.option(
    "--errors",
    metavar="FILE",
    help="Where failed documents go. Default: OUTPUT.errors.jsonl or errors.jsonl.",
)
@click.option(
    "-k", "k", type=click.IntRange(min=1), help="How many labels to write, best first. Default: all."
)
@click.option("--in-order", is_flag=True, help="Write results in the order of the input, not as they finish.")
@click.option(
    "--truncate", is_flag=True, help="Cut documents at the server's limit instead of refusing them."
)
@click.option("--max-failures", type=click.IntRange(min=0), help="Stop when more documents than this failed.")
@target_option
@click.pass_context
def classify(
    ctx: click.Context,
    files: tuple[str, ...],
    model: str,
    id_column: str | None,
    text_column: str | None,
    file_format: str | None,
    output: str | None,
    errors: str | None,
    k: int | None,
    in_order: bool,
    truncate: bool,
    max_failures: int | None,
    target: str,
) -> None:
    """Classify the documents in FILEs: .jsonl, .tsv, .csv (with a header), .txt (a document a line), each
    also .gz, or - for standard input.

    Each result is one line of JSON: id, label, score, and scores by label, best first.

    Exit codes: 0 all good, 1 some documents failed, 2 could not run or go on, 3 stopped by --max-failures.
    """
    inputs = [InputFile(path, file_format, standard_input_format="jsonl") for path in files]
    for file in inputs:
        check_columns(file, text_column, TEXT_COLUMNS, "--text")
        if id_column is not None:
            check_columns(file, id_column, (), "--id")
    reader = _DocumentReader(inputs, id_column=id_column, text_column=text_column)
    errors_path = Path(errors or (f"{output}.errors.jsonl" if output else "errors.jsonl"))
    _check_apart(errors_path, inputs, "--errors")
    if output:
        _check_apart(Path(output), inputs, "-o")
        if errors_path.resolve() == Path(output).resolve():
            raise Failure(
                f"{output}: results and failed documents need a file each; choose another with --errors"
            )
    progress = Progress("documents", inputs)
    with ExitStack() as stack:
        stack.enter_context(failures_told(target))
        from gatehouse.client import Client

        client = stack.enter_context(Client(target))
        _check_model(client.get_model(model).task, model)
        out = stack.enter_context(_opened(output)) if output else sys.stdout
        failed = stack.enter_context(FailedDocuments(errors_path, limit=max_failures))
        with shown(progress, results_on_stdout=output is None):
            documents = reader.documents(failed, progress)
            for result in client.classify(documents, model=model, k=k, truncate=truncate, in_order=in_order):
                row, document_id = reader.source_of(result)
                if result.error is not None:
                    reason = result.error.reason or type(result.error).__name__
                    failed.add(
                        document_id=document_id,
                        file=row.file,
                        line=row.line,
                        reason=reason,
                        message=result.error.message,
                    )
                else:
                    progress.done += 1
                    out.write(_as_json(document_id, result) + "\n")
                    out.flush()
                progress.failed = failed.count
    progress.failed = failed.count
    where = f", see {failed.path}" if failed.count else ""
    click.echo(progress.summary() + where, err=True)
    ctx.exit(SOME_FAILED if failed.count else ALL_GOOD)


class _DocumentReader:
    """Documents of the files, under numbers of our own, so that ids in the files need not be unique."""

    def __init__(
        self, inputs: Sequence[InputFile], *, id_column: str | None, text_column: str | None
    ) -> None:
        self._inputs = inputs
        self._id_column = id_column
        self._text_column = text_column
        self._under_way: dict[str, tuple[Row, object]] = {}

    def documents(self, failed: FailedDocuments, progress: Progress) -> Iterator[tuple[str, str]]:
        """(number, text) pairs. Rows that cannot be used count as failed documents."""
        number = 0
        for file in self._inputs:
            for row in rows(file):
                progress.read += 1
                try:
                    if isinstance(row, BadRow):
                        raise row
                    text = row.text_of(pick_column(row, self._text_column, TEXT_COLUMNS, "--text"))
                    document_id = self._id_of(row)
                except BadRow as bad:
                    failed.add(
                        document_id=self._place(file.name, bad.line),
                        file=file.name,
                        line=bad.line,
                        reason="BAD_ROW",
                        message=f"{file.name}, line {bad.line}: {bad.reason}",
                    )
                    continue
                number += 1
                # The text is with the client now; only where it came from is kept.
                self._under_way[str(number)] = (Row(file=row.file, line=row.line, fields={}), document_id)
                yield str(number), text

    def source_of(self, result: Classification) -> tuple[Row, object]:
        """The row that a result belongs to, and the id there."""
        return self._under_way.pop(result.id)

    def _id_of(self, row: Row) -> object:
        if self._id_column is None and "id" not in row.fields:
            return self._place(row.file, row.line)
        value = row.fields[pick_column(row, self._id_column, ("id",), "--id")]
        if not isinstance(value, (str, int)):
            raise BadRow(row.line, "the id is neither text nor a whole number")
        return value

    def _place(self, file: str, line: int) -> object:
        return line if len(self._inputs) == 1 else f"{file}:{line}"


def _check_model(task: str, model: str) -> None:
    if task and task != "classifier":
        raise Failure(f"{model} is a {task.replace('_', ' ')}, not a classifier. See `gatehouse models list`")


def _check_apart(path: Path, inputs: Sequence[InputFile], option: str) -> None:
    """Failure for a file that would be written while it is read."""
    if any(file.path != "-" and path.exists() and path.samefile(file.path) for file in inputs):
        raise Failure(f"{path}: is an input file too; choose another with {option}")


def _opened(output: str) -> TextIO:
    try:
        return Path(output).open("w", encoding="utf-8")
    except OSError as error:
        raise Failure(f"{output}: cannot be written: {error.strerror}; choose another with -o") from error


def _as_json(document_id: object, result: Classification) -> str:
    record: dict[str, object] = {
        "id": document_id,
        "label": result.label,
        "score": _shortest(result.score),
        "scores": {entry.label: _shortest(entry.score) for entry in result.scores},
    }
    if result.truncated:
        record["truncated"] = True
    return json.dumps(record, ensure_ascii=False)


def _shortest(score: float | None) -> float | None:
    # Scores are float32; more digits than these say nothing.
    return None if score is None else float(f"{score:.7g}")
