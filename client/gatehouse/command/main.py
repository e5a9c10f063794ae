"""The `gatehouse` command: finds its subcommands, and turns every end into an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Any, NoReturn

import click

from gatehouse.command.failure import BROKEN_PIPE, COULD_NOT_RUN, INTERRUPTED
from gatehouse.command.groups import OpenGroup

# Where our own commands live, and what the overview says of them without importing any.
_COMMANDS = {
    "suggest": ("gatehouse.command.suggest:suggest", "Suggest the next word after a text."),
    "generate": ("gatehouse.command.generate:generate", "Continue a text."),
    "classify": ("gatehouse.command.classify:classify", "Classify documents from files."),
    "tag": ("gatehouse.command.tag:tag", "Label each step of documents from files."),
    "encode": ("gatehouse.command.encode:encode", "Turn documents from files into vectors."),
    "score": ("gatehouse.command.score:score", "Tell how likely documents from files are."),
    "predict": ("gatehouse.command.predict:predict", "Write a regression's values for documents from files."),
    "transduce": (
        "gatehouse.command.transduce:transduce",
        "Turn texts into other ones, as dates into 2021-03-03.",
    ),
    "evaluate": ("gatehouse.command.evaluate:evaluate", "Measure a model on a file, through the server."),
    "inspect": ("gatehouse.command.inspect:inspect", "Draw what goes on inside while a text is read."),
    "models": ("gatehouse.command.models:models", "List, show, load, unload models; convert or verify one."),
    "status": ("gatehouse.command.status:status", "Show how the server is, as an operator."),
    "sessions": ("gatehouse.command.sessions:sessions", "List, show or delete sessions, as an operator."),
}


class Commands(OpenGroup):
    """Our own commands, and those that packages add through the entry-point group `gatehouse.commands`."""

    entry_point_group = "gatehouse.commands"
    summaries = MappingProxyType(
        {name: summary for name, (_, summary) in _COMMANDS.items()} | {"serve": "Run the server."}
    )

    def own_commands(self) -> Sequence[str]:
        """What comes along, none of it imported."""
        return list(_COMMANDS)

    def own_command(self, name: str) -> click.Command | None:
        """One of them, imported now."""
        if name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The server, and whatever else was added, comes first."""
        return [*self.added_commands(), *self.own_commands()]

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


def _open_what_is_closed() -> None:
    """A service manager may start us without standard streams, which Python then has None for."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115  # as long as the process
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115


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
    _open_what_is_closed()
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
    except UnicodeEncodeError as error:
        character = error.object[error.start]
        click.echo(
            f"Error: standard output is {error.encoding}, which has no {character!a}; set PYTHONIOENCODING=utf-8",
            err=True,
        )
        sys.exit(COULD_NOT_RUN)
    except click.Abort:
        sys.exit(INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)
