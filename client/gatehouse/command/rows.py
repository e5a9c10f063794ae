"""Rows of input files: JSON objects, lines of tables, or plain lines, each with the line it stands on."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gatehouse.command.failure import Failure
from gatehouse.command.files import InputFile

TEXT_COLUMNS = ("text", "abstract")
LABEL_COLUMNS = ("label",)
_FIELD_LIMIT = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One record: its fields by column name, and where it begins."""

    file: str
    line: int
    fields: Mapping[str, object]

    def text_of(self, column: str) -> str:
        """A column's value as text. BadRow when it is missing, not text, or not UTF-8."""
        value = self.fields.get(column)
        if value is None:
            raise BadRow(self.line, f"no value in the column {column!r}")
        if not isinstance(value, str):
            raise BadRow(self.line, f"the value of {column!r} is not text")
        if not is_unicode(value):
            raise BadRow(self.line, "not valid UTF-8")
        return value


class BadRow(Exception):
    """A row that cannot be used, and why."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line
        self.reason = reason


def is_unicode(value: str) -> bool:
    """False for a text with half of a surrogate pair in it, as bytes that are not UTF-8 are read."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def rows(file: InputFile) -> Iterator[Row | BadRow]:
    """The rows of a file, bad ones among them. Empty lines are skipped."""
    match file.format:
        case "jsonl":
            return _json_rows(file)
        case "txt":
            return _text_rows(file)
        case _:
            return _table_rows(file)


def pick_column(row: Row, wanted: str | None, usual: Sequence[str], option: str) -> str:
    """Which column to use: the one wanted, or the first of the usual ones that is there.

    Failure when a table has none of them, since then no row of it can be used; BadRow for a JSON object,
    since the next one may have it.
    """
    names = (wanted,) if wanted is not None else usual
    for name in names:
        if name in row.fields:
            return name
    expected = " or ".join(repr(name) for name in names)
    found = ", ".join(str(name) for name in row.fields)
    if isinstance(row.fields, _TableFields):
        raise Failure(f"{row.file}: has no column {expected}, but {found}; choose with {option}")
    raise BadRow(row.line, f"no field {expected}, but {found or 'none'}; choose with {option}")


def check_columns(file: InputFile, wanted: str | None, usual: Sequence[str], option: str) -> None:
    """Failure when a table lacks a column, before anything is done; of a pipe, when its first row is read."""
    if not file.can_be_read_twice or file.format == "jsonl":
        return
    for row in rows(file):
        if isinstance(row, Row):
            pick_column(row, wanted, usual, option)
            return


class _TableFields(dict[str, object]):
    """The fields of a table's row, which has the columns of every other row of the file."""


def _json_rows(file: InputFile) -> Iterator[Row | BadRow]:
    for number, line in enumerate(file.lines(), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            yield BadRow(number, f"not JSON: {error}")
            continue
        except RecursionError:
            yield BadRow(number, "not JSON that can be read: nested too deeply")
            continue
        if isinstance(value, dict):
            yield Row(file=file.name, line=number, fields=value)
        else:
            yield BadRow(number, "not a JSON object")


def _text_rows(file: InputFile) -> Iterator[Row | BadRow]:
    for number, line in enumerate(file.lines(), start=1):
        text = line.rstrip("\r\n")
        if text.strip():
            yield Row(file=file.name, line=number, fields=_TableFields(text=text))


def _table_rows(file: InputFile) -> Iterator[Row | BadRow]:
    # Tabular text has no quoting: a field that begins with a quotation mark just does.
    if file.format == "tsv":
        reader = csv.reader(file.lines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(file.lines())
    csv.field_size_limit(_FIELD_LIMIT)
    header: list[str] | None = None
    while True:
        line = reader.line_num + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield BadRow(line, f"not {file.format.upper()}: {error}")
            continue
        if not record:
            continue
        if header is None:
            header = record
        elif len(record) != len(header):
            yield BadRow(line, f"{len(record)} columns where the first line has {len(header)}")
        else:
            yield Row(file=file.name, line=line, fields=_TableFields(zip(header, record, strict=True)))
