"""The `gatehouse` command: finds its subcommands, and turns every end into an exit code."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, NoReturn

import click

from gatehouse.command.failure import BROKEN_PIPE, COULD_NOT_RUN, INTERRUPTED, Failure

# Where our own commands live, and what the overview says of them without importing any.
_COMMANDS = {
    "suggest": ("gatehouse.command.suggest:suggest", "Suggest the next word after a text."),
    "classify": ("gatehouse.command.classify:classify", "Classify documents from files."),
    "evaluate": ("gatehouse.command.evaluate:evaluate", "Measure a model on a file, through the server."),
    "models": ("gatehouse.command.models:models", "List the server's models, or show one."),
    "sessions": ("gatehouse.command.sessions:sessions", "List, show or delete sessions, as an operator."),
}
_SUMMARIES = {"serve": "Run the server."}


class Commands(click.Group):
    """Our own commands, and those that packages add through the entry-point group `gatehouse.commands`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the overview."""
        added = sorted(entry.name for entry in entry_points(group="gatehouse.commands"))
        return [*(name for name in added if name not in _COMMANDS), *_COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, imported now."""
        if cmd_name in _COMMANDS:
            module, _, attribute = _COMMANDS[cmd_name][0].partition(":")
            command: click.Command = getattr(import_module(module), attribute)
            return command
        for entry in entry_points(group="gatehouse.commands", name=cmd_name):
            try:
                added: click.Command = entry.load()
            except ModuleNotFoundError as error:
                if (error.name or "").split(".")[0] == "gatehouse":
                    raise
                raise Failure(
                    f"`gatehouse {cmd_name}` needs {error.name}, which is not installed: "
                    "pip install 'gatehouse[server]'"
                ) from error
            return added
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The overview, from our own summaries where there is one."""
        rows = []
        for name in self.list_commands(ctx):
            summary = _COMMANDS[name][1] if name in _COMMANDS else _SUMMARIES.get(name)
            if summary is None:
                command = self.get_command(ctx, name)
                summary = command.get_short_help_str() if command is not None else ""
            rows.append((name, summary))
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command. A reader that left (`| head`) ends it quietly."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except BrokenPipeError:
            # Python flushes standard output once more at exit; that must not fail again.
            _forget_standard_output()
            ctx.exit(BROKEN_PIPE)


def _forget_standard_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.command(
    cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="gatehouse", message="gatehouse %(version)s")
def gatehouse() -> None:
    """Next-word suggestions and document classification from a Gatehouse server, and the server itself."""


def main() -> NoReturn:
    """The entry point of the installed command."""
    # gRPC's own log lines would end up between ours.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        code = gatehouse.main(prog_name="gatehouse", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except OSError as error:
        # What a command can say more about, it has said; this is a full disk, or standard output closed.
        where = error.filename or "the output"
        click.echo(f"Error: cannot write {where}: {error.strerror or error}", err=True)
        _forget_standard_output()
        sys.exit(COULD_NOT_RUN)
    except click.Abort:
        sys.exit(INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)
