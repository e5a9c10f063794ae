"""The flags are those of the declared settings."""

import os
import signal
import sys
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner
from gatehouse_server.app.command import serve
from gatehouse_server.settings import Settings, flag_of, variable_of


def test_help_tells_every_setting_with_its_default() -> None:
    """Flag, environment variable, default and meaning of each."""
    output = " ".join(
        CliRunner().invoke(serve, ["--help"], terminal_width=300, max_content_width=300).output.split()
    )
    for name, field in Settings.model_fields.items():
        assert flag_of(name) in output
        assert variable_of(name) in output
        assert " ".join((field.description or "").split()) in output


def test_a_setting_that_cannot_be_is_one_line() -> None:
    """With exit code 2, before anything is started."""
    result = CliRunner().invoke(serve, ["--max-sessions", "-5"])
    assert result.exit_code == 2
    assert result.output.count("\n") == 1
    assert result.output.startswith("gatehouse serve: --max-sessions: ")


def test_an_unknown_flag_is_refused() -> None:
    """With the nearest one."""
    result = CliRunner().invoke(serve, ["--max-sesions", "5"])
    assert result.exit_code == 2
    assert "--max-sessions" in result.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_imports_ends_the_process(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They take seconds, and for process 1 of a container a signal that nobody handles does not exist."""
    codes: list[int] = []

    class Importing(ModuleType):
        """In the place of what takes long."""

        def __getattr__(self, name: str) -> object:
            if name != "run":
                raise AttributeError(name)
            signal.raise_signal(number)
            return lambda settings, import_seconds: 0

    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setitem(sys.modules, "gatehouse_server.app.run", Importing("gatehouse_server.app.run"))
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(each, lambda number, frame: None) for each in numbers]
    try:
        assert CliRunner().invoke(serve, ["--models", str(tmp_path)]).exit_code == 0
    finally:
        for each, handler in zip(numbers, before, strict=True):
            signal.signal(each, handler)
    assert codes == [128 + number]
