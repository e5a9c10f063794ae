"""A benchmark as somebody types it, without another Python process for what only starts and counts the others."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

Run = Callable[..., tuple[int, dict[str, Any]]]
"""Takes options; gives the exit code and the JSON of the last line."""


def runner(
    main: Callable[[], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """What runs a benchmark's command with `--json` and other options, from the root of the repository."""
    monkeypatch.chdir(ROOT)

    def run(*options: str) -> tuple[int, dict[str, Any]]:
        monkeypatch.setattr(sys, "argv", [main.__module__, "--json", *options])
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int), ended.value.code
        return ended.value.code, json.loads(capsys.readouterr().out.splitlines()[-1])

    return run
