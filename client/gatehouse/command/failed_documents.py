"""The errors file: one JSON object for each document that failed, made when the first one does."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from gatehouse.command.failure import Failure, TooManyFailed


class FailedDocuments:
    """Counts and keeps failures. Threads may share it: rows fail while they are read, documents when
    answered.
    """

    def __init__(self, path: Path, *, limit: int | None) -> None:
        self.path = path
        self.count = 0
        self._limit = limit
        self._file: TextIO | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, *, document_id: object, file: str, line: int, reason: str, message: str) -> None:
        """Keeps one. Failure (exit code 3) when that is one more than allowed."""
        record = {"id": document_id, "file": file, "line": line, "reason": reason, "message": message}
        with self._lock:
            if self._file is None:
                try:
                    self._file = self.path.open("w", encoding="utf-8", errors="backslashreplace")
                except OSError as error:
                    raise Failure(
                        f"{self.path}: cannot be written: {error.strerror}; choose another one with --errors"
                    ) from error
            self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
            self._file.flush()
            self.count += 1
            if self._limit is not None and self.count > self._limit:
                raise TooManyFailed(f"stopped: more than {self._limit} documents failed; see {self.path}")
