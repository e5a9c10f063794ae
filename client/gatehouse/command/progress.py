"""The progress line: on standard error, and only when that is a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from gatehouse.command.files import InputFile


class Progress:
    """What has been read, done and failed so far, and how to show it."""

    def __init__(self, unit: str, files: Sequence[InputFile]) -> None:
        self.read = 0
        self.done = 0
        self.failed = 0
        self._unit = unit
        self._files = files
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._started

    def line(self) -> str:
        """`1,234 documents, 512/s, 0:42 left, 3 failed`."""
        seconds = self.seconds
        parts = [f"{self.done:,} {self._unit}", f"{self.done / max(seconds, 1e-9):,.0f}/s"]
        left = self._seconds_left(seconds)
        if left is not None:
            parts.append(f"{int(left) // 60}:{int(left) % 60:02d} left")
        parts.append(f"{self.failed:,} failed")
        return ", ".join(parts)

    def summary(self) -> str:
        """The same at the end."""
        seconds = self.seconds
        rate = self.done / max(seconds, 1e-9)
        return f"{self.done:,} {self._unit} in {seconds:.1f} s, {rate:,.0f}/s, {self.failed:,} failed"

    def _seconds_left(self, seconds: float) -> float | None:
        finished = self.done + self.failed
        total_bytes = sum(file.size_bytes or 0 for file in self._files)
        read_bytes = sum(file.bytes_read for file in self._files)
        if not finished or not read_bytes or any(file.size_bytes is None for file in self._files):
            return None
        # Files are read ahead of what is finished, so bytes tell how many there will be, not how many are
        # done.
        expected = self.read * total_bytes / read_bytes
        return max(0.0, seconds * (expected - finished) / finished)


@contextmanager
def shown(progress: Progress, *, results_on_stdout: bool) -> Iterator[None]:
    """Shows the line while the block runs. Not where results scroll by on the same terminal."""
    if not sys.stderr.isatty() or (results_on_stdout and sys.stdout.isatty()):
        yield
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(
        get_renderable=lambda: Text(progress.line()),
        console=Console(stderr=True),
        refresh_per_second=4,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ):
        yield
