"""The flags are those of the declared settings."""

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
