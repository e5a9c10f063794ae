"""Running the command line inside a test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from gatehouse.command.main import gatehouse


def run(
    *arguments: str | Path,
    stdin: str | bytes | None = None,
    target: str | None = None,
    admin_target: str | None = None,
) -> Result:
    """Runs `gatehouse` with arguments; targets go in through the environment."""
    environment = {"GATEHOUSE_TARGET": target, "GATEHOUSE_ADMIN_TARGET": admin_target}
    return CliRunner(env=environment).invoke(
        gatehouse, [str(argument) for argument in arguments], input=stdin
    )


def json_lines(text: str) -> list[dict[str, Any]]:
    """The objects of a text, one a line."""
    return [json.loads(line) for line in text.split("\n") if line]
