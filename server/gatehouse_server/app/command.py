"""`gatehouse serve`."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import click

from gatehouse_server.app.failure import EXIT_CANNOT_START, CannotStartError
from gatehouse_server.app.options import given_settings, settings_options
from gatehouse_server.app.settings_loading import CONFIG_VARIABLE, SettingsError, load_settings
from gatehouse_server.settings import Settings


@click.command(context_settings={"max_content_width": 110, "help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=f"TOML file of settings  [{CONFIG_VARIABLE}]",
)
@settings_options
def serve(config: Path | None, **values: Any) -> None:
    """Serve models over gRPC, until SIGTERM or Ctrl-C.

    Each setting is also an environment variable and a key of the TOML file (--max-sessions is max_sessions
    there). The command line counts before the environment, and that before the file.
    """
    try:
        settings = load_settings(given_settings(values), config=config)
        _check_folders(settings)
        for number in (signal.SIGTERM, signal.SIGINT):
            # Until the server has handlers of its own. Process 1 of a container would lose a signal without one.
            signal.signal(number, _leave)
        # Imported late: it brings torch, and a misspelt flag should not wait for that.
        began_seconds = time.perf_counter()
        from gatehouse_server.app.run import run

        sys.exit(run(settings, import_seconds=time.perf_counter() - began_seconds))
    except (SettingsError, CannotStartError) as error:
        click.echo(f"gatehouse serve: {error}", err=True)
        sys.exit(EXIT_CANNOT_START)


def _leave(number: int, frame: object) -> None:
    """Ends the process: nothing has begun yet."""
    os._exit(128 + number)


def _check_folders(settings: Settings) -> None:
    for folder in settings.models:
        if not folder.is_dir():
            raise CannotStartError(
                f"--models: there is no folder {folder}. Name the one that holds <name>/<version>/"
            )
    if not settings.models and not settings.embedded_models:
        raise CannotStartError("there is no model to serve. Name a folder with --models DIR")
