"""Lines of a file that an evaluation cannot use: counted, and the first ones told."""

from __future__ import annotations

import click

from gatehouse.command.files import InputFile
from gatehouse.command.progress import Progress

_TOLD = 10


def tell_unusable(source: InputFile, line: int, reason: str, progress: Progress) -> None:
    """Counts a line that cannot be used, and says why on standard error unless many were told already."""
    progress.failed += 1
    if progress.failed <= _TOLD:
        click.echo(f"{source.name}, line {line}: {reason}", err=True)
    elif progress.failed == _TOLD + 1:
        click.echo("further lines that cannot be used are only counted", err=True)
