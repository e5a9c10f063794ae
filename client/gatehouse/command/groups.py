"""Groups of commands that are imported when they are used, some of them from other distributions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import ClassVar

import click

from gatehouse.command.failure import Failure


class OpenGroup(click.Group):
    """A group to which packages add commands through an entry-point group, a name and a command each.

    `summaries` are what the overview says of commands that are not worth importing for that.
    """

    entry_point_group: ClassVar[str]
    summaries: ClassVar[Mapping[str, str]] = {}

    def own_commands(self) -> Sequence[str]:
        """The names of commands that come along, in the order of the overview."""
        return list(self.commands)

    def own_command(self, name: str) -> click.Command | None:
        """One of them."""
        return self.commands.get(name)

    def added_commands(self) -> list[str]:
        """The names of commands of other distributions. None of them hides one that comes along."""
        own = set(self.own_commands())
        return sorted({entry.name for entry in entry_points(group=self.entry_point_group)} - own)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the overview."""
        return [*self.own_commands(), *self.added_commands()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, imported now."""
        own = self.own_command(cmd_name)
        if own is not None:
            return own
        for entry in entry_points(group=self.entry_point_group, name=cmd_name):
            with _missing_package_told(f"{ctx.command_path} {cmd_name}"):
                added: click.Command = entry.load()
            return added
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The overview, from `summaries` where there is one."""
        rows = []
        for name in self.list_commands(ctx):
            summary = self.summaries.get(name)
            if summary is None:
                command = self.get_command(ctx, name)
                summary = command.get_short_help_str() if command is not None else ""
            rows.append((name, summary))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@contextmanager
def _missing_package_told(command: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("", "gatehouse"):
            raise
        raise Failure(
            f"`{command}` needs {error.name}, which is not installed: pip install 'gatehouse[server]'"
        ) from error
