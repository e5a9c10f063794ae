"""The progress line."""

from __future__ import annotations

from pathlib import Path

import pytest
from gatehouse.command.files import InputFile
from gatehouse.command.progress import Progress


def test_time_left_counts_what_is_finished_not_what_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the bytes read as 10 documents, 5 of them finished after 10 s: 15 are left, at 0.5/s 30 s."""
    file = InputFile(str(_file(tmp_path)), None, standard_input_format="txt")
    clock = iter((100.0, 110.0))
    monkeypatch.setattr("gatehouse.command.progress.time.monotonic", lambda: next(clock))
    monkeypatch.setattr(InputFile, "bytes_read", property(lambda _: 50))
    progress = Progress("documents", [file])
    progress.read, progress.done, progress.failed = 10, 4, 1
    assert progress.line() == "4 documents, 0/s, 0:30 left, 1 failed"


def test_without_a_size_there_is_no_time_left() -> None:
    """Standard input has no size to go by, so the line says rate and failures only."""
    progress = Progress("documents", [InputFile("-", None, standard_input_format="jsonl")])
    progress.read = progress.done = 1
    assert "left" not in progress.line()


def _file(folder: Path) -> Path:
    path = folder / "a.txt"
    path.write_bytes(b"x" * 100)
    return path
