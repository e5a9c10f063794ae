"""Labelled documents of the arXiv collection, read from its tab-separated files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = "arxiv-abstracts-12"
COLUMNS = ("label", "arxiv_id", "primary_cat", "created", "title", "abstract")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One paper: its class, its finer arXiv category, and its two texts."""

    label: str
    category: str
    title: str
    abstract: str


def read_documents(path: Path) -> list[Document]:
    """Read one file. Raises ValueError where the header or a line is not of the expected columns."""
    with path.open(encoding="utf-8", newline="\n") as file:
        header = tuple(file.readline().rstrip("\n").split("\t"))
        if header != COLUMNS:
            raise ValueError(f"{path}: expected the columns {COLUMNS}, got {header}")
        documents = []
        for number, line in enumerate(file, start=2):
            fields = line.rstrip("\n").split("\t")
            if len(fields) != len(COLUMNS):
                raise ValueError(f"{path}:{number}: expected {len(COLUMNS)} fields, got {len(fields)}")
            row = dict(zip(COLUMNS, fields, strict=True))
            documents.append(
                Document(
                    label=row["label"],
                    category=row["primary_cat"],
                    title=row["title"],
                    abstract=row["abstract"],
                )
            )
    return documents


def class_names(documents: Sequence[Document]) -> list[str]:
    """The labels in alphabetical order, which is the order of the network's outputs."""
    return sorted({document.label for document in documents})


def category_names(documents: Sequence[Document]) -> list[str]:
    """The finer arXiv categories in alphabetical order."""
    return sorted({document.category for document in documents})
