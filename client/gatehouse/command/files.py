"""Input files: opened by name or as standard input, plain or gzip, with the bytes read so far for the
progress line.
"""

from __future__ import annotations

import gzip
import io
import os
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from gatehouse.command.failure import Failure

FORMATS = ("jsonl", "tsv", "csv", "txt")
_GZIP_MAGIC = b"\x1f\x8b"


class InputFile:
    """One file of a command, `-` for standard input.

    `name` is what messages call it. `format` is told by the caller or by the name, `.gz` aside. Bytes that
    are not UTF-8 come out as lone surrogates, so that one bad row does not end a run.
    """

    def __init__(self, path: str, file_format: str | None, *, standard_input_format: str) -> None:
        self.path = path
        # A name of bytes that are not UTF-8 would end the output that it is written to.
        self.name = "standard input" if path == "-" else os.fsencode(path).decode(errors="replace")
        self.size_bytes: int | None = None
        if path == "-":
            self.format = file_format or standard_input_format
        else:
            self.format = file_format or _format_of(path)
            self.size_bytes = _readable_size(path)
        self._raw: BinaryIO | None = None

    @property
    def can_be_read_twice(self) -> bool:
        """False for pipes and devices, standard input among them."""
        return self.size_bytes is not None

    @property
    def bytes_read(self) -> int:
        """How much of the file (as it lies on disk) has been read."""
        if self._raw is None or self.size_bytes is None:
            return 0
        return self.size_bytes if self._raw.closed else self._raw.tell()

    def lines(self) -> Iterator[str]:
        """The lines with their ends. Failure when the file cannot be read to its end, naming the line."""
        count = 0
        try:
            with self._open() as text:
                for line in text:
                    count += 1
                    yield line
        except (OSError, EOFError, zlib.error) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise Failure(f"{self.name}, line {count + 1}: cannot be read: {reason}") from error

    def _open(self) -> TextIO:
        if self.path == "-":
            # Not the buffer that Python made: a reading thread that still waits in it when the command ends would
            # keep its lock, and the interpreter aborts over that.
            self._raw = cast(BinaryIO, getattr(sys.stdin.buffer, "raw", sys.stdin.buffer))
            buffered = _buffered(self._raw)
        else:
            self._raw = open(self.path, "rb", buffering=0)  # noqa: SIM115  # closed with the text stream over it
            buffered = _buffered(self._raw)
        content: BinaryIO = buffered
        if buffered.peek(2)[:2] == _GZIP_MAGIC:
            content = cast(BinaryIO, _OwningGzipFile(buffered))
        # csv wants line ends as they are; for the other formats only \n ends a line.
        newline = "" if self.format in ("csv", "tsv") else "\n"
        return io.TextIOWrapper(content, encoding="utf-8-sig", errors="surrogateescape", newline=newline)


def _buffered(file: BinaryIO) -> io.BufferedReader:
    if isinstance(file, io.BufferedReader):
        return file
    return io.BufferedReader(cast(io.RawIOBase, file))


class _OwningGzipFile(gzip.GzipFile):
    """Closes the file below with itself, which gzip leaves open."""

    def __init__(self, below: io.BufferedReader) -> None:
        super().__init__(fileobj=below, mode="rb")
        self._below = below

    def close(self) -> None:
        super().close()
        self._below.close()


def _format_of(path: str) -> str:
    suffixes = Path(path).suffixes
    if suffixes and suffixes[-1].lower() == ".gz":
        suffixes.pop()
    suffix = suffixes[-1].lower().removeprefix(".") if suffixes else ""
    aliases = {"ndjson": "jsonl", "tab": "tsv", "text": "txt"}
    file_format = aliases.get(suffix, suffix)
    if file_format not in FORMATS:
        raise Failure(f"{path}: cannot tell its format from its name; pass --format {'|'.join(FORMATS)}")
    return file_format


def _readable_size(path: str) -> int | None:
    file = Path(path)
    if not file.exists():
        raise Failure(f"{path}: no such file")
    if file.is_dir():
        raise Failure(f"{path}: is a folder; name the files in it")
    if not file.is_file():
        # Pipes and devices have no size to compare progress with, and whoever opens one twice loses what was in it.
        return None
    try:
        with file.open("rb"):
            pass
    except OSError as error:
        raise Failure(f"{path}: cannot be opened: {error.strerror}") from error
    return file.stat().st_size
