"""Documents from the rows of files, and back from a result to the row that it belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gatehouse.command.failed_documents import FailedDocuments
from gatehouse.command.files import InputFile
from gatehouse.command.progress import Progress
from gatehouse.command.rows import TEXT_COLUMNS, BadRow, Row, is_unicode, pick_column, rows
from gatehouse.documents import Document

if TYPE_CHECKING:
    from gatehouse.results import DocumentResult
    from gatehouse.transductions import Transduction

FEATURE_COLUMNS = ("features",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a document came from: its own id, where it begins, and its text if that is needed."""

    id: object
    file: str
    line: int
    text: str


class DocumentReader:
    """Documents of the files, under numbers of our own, so that ids in the files need not be unique."""

    def __init__(
        self,
        inputs: Sequence[InputFile],
        *,
        id_column: str | None,
        text_column: str | None,
        features_column: str | None,
        takes_features: bool,
        keeps_text: bool,
    ) -> None:
        """`keeps_text`: until a document has its result, its text is kept, too."""
        self._inputs = inputs
        self._id_column = id_column
        self._text_column = text_column
        self._features_column = features_column
        self._takes_features = takes_features
        self._keeps_text = keeps_text
        self._under_way: dict[str, Source] = {}

    def documents(self, failed: FailedDocuments, progress: Progress) -> Iterator[Document]:
        """Documents under their numbers. Rows that cannot be used count as failed documents."""
        number = 0
        for file in self._inputs:
            for row in rows(file):
                progress.read += 1
                try:
                    if isinstance(row, BadRow):
                        raise row
                    document_id = self._id_of(row)
                    text, document = self._document_of(row, str(number + 1))
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
                self._under_way[document.id] = Source(
                    id=document_id, file=row.file, line=row.line, text=text if self._keeps_text else ""
                )
                yield document

    def source_of(self, result: DocumentResult | Transduction) -> Source:
        """Where the document of a result came from."""
        return self._under_way.pop(result.id)

    def _document_of(self, row: Row, number: str) -> tuple[str, Document]:
        """The text of a row, if it has one, and the document."""
        if not self._takes_features:
            text = row.text_of(pick_column(row, self._text_column, TEXT_COLUMNS, "--text"))
            return text, Document(number, text)
        column = pick_column(row, self._features_column, FEATURE_COLUMNS, "--features")
        features = row.fields[column]
        if not isinstance(features, list) or not all(isinstance(step, list) for step in features):
            raise BadRow(row.line, f"the value of {column!r} is not a list of lists of numbers")
        return "", Document(number, features=features)

    def _id_of(self, row: Row) -> object:
        if self._id_column is None and "id" not in row.fields:
            return self._place(row.file, row.line)
        value = row.fields[pick_column(row, self._id_column, ("id",), "--id")]
        if not isinstance(value, (str, int)):
            raise BadRow(row.line, "the id is neither text nor a whole number")
        if isinstance(value, str) and not is_unicode(value):
            raise BadRow(row.line, "the id is not valid UTF-8")
        return value

    def _place(self, file: str, line: int) -> object:
        return line if len(self._inputs) == 1 else f"{file}:{line}"
