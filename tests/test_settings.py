"""Settings: one declaration for flags, environment, file and documentation; nothing misspelt passes."""

import re
from pathlib import Path
from typing import Any

import pytest
from gatehouse_server.app.options import choices, described_default
from gatehouse_server.app.settings_loading import SettingsError, load_settings
from gatehouse_server.settings import Settings, flag_of, variable_of

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the machine reaches these tests."""
    for name in Settings.model_fields:
        monkeypatch.delenv(variable_of(name), raising=False)
    monkeypatch.delenv("GATEHOUSE_CONFIG", raising=False)


def failure(**given: Any) -> str:
    """The line for a bad setting."""
    with pytest.raises(SettingsError) as caught:
        load_settings(given)
    return str(caught.value)


def test_flags_count_before_environment_before_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And the file before the defaults."""
    file = tmp_path / "gatehouse.toml"
    file.write_text("port = 1\nhttp_port = 1\nmax_sessions = 1\n", encoding="utf-8")
    monkeypatch.setenv("GATEHOUSE_PORT", "2")
    monkeypatch.setenv("GATEHOUSE_HTTP_PORT", "2")
    settings = load_settings({"port": "3"}, config=file)
    assert (settings.port, settings.http_port, settings.max_sessions, settings.threads) == (3, 2, 1, 1)


def test_the_address_that_kubernetes_sets_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service named `gatehouse` sets GATEHOUSE_PORT in the pods beside it."""
    monkeypatch.setenv("GATEHOUSE_PORT", "tcp://10.0.0.1:50051")
    assert failure().endswith("give the pod `enableServiceLinks: false`")
    assert "Kubernetes" not in failure(port="abc")


def test_the_file_can_be_named_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """GATEHOUSE_CONFIG does what --config does."""
    file = tmp_path / "gatehouse.toml"
    file.write_text('models = ["a", "b"]\n', encoding="utf-8")
    monkeypatch.setenv("GATEHOUSE_CONFIG", str(file))
    assert load_settings().models == (Path("a"), Path("b"))


def test_lists_come_separated_by_commas_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """And as several flags from the command line."""
    monkeypatch.setenv("GATEHOUSE_REQUIRE_MODELS", "keyboard, topics@1")
    assert load_settings().require_models == ("keyboard", "topics@1")
    assert load_settings({"models": ("x", "y")}).models == (Path("x"), Path("y"))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"port": "abc"}, "'abc'"),
        ({"port": "65536"}, "65535"),
        ({"device": "gpu"}, "'auto', 'cpu' or 'cuda'"),
        ({"max_sessions": "0"}, "1"),
        ({"session_idle_seconds": "0"}, "greater than 0"),
        ({"drain_grace_seconds": "inf"}, "finite"),
        ({"embedded_models": "perhaps"}, "'perhaps'"),
    ],
)
def test_a_bad_value_is_one_line_that_names_the_flag(given: dict[str, str], told: str) -> None:
    """With what is allowed and what was given."""
    line = failure(**given)
    assert line.startswith(flag_of(next(iter(given))) + ": ")
    assert told in line
    assert "\n" not in line


def test_a_bad_value_says_where_it_comes_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From the environment or from the file."""
    monkeypatch.setenv("GATEHOUSE_PORT", "tcp://10.0.0.1:50051")
    assert "GATEHOUSE_PORT" in failure()
    monkeypatch.delenv("GATEHOUSE_PORT")
    file = tmp_path / "x.toml"
    file.write_text("port = 'x'\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=re.escape(str(file))):
        load_settings(config=file)


def test_an_unknown_name_is_an_error_everywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A misspelt setting must not mean its default; the nearest name is offered."""
    file = tmp_path / "x.toml"
    file.write_text("max_sesions = 5\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="max_sessions"):
        load_settings(config=file)
    monkeypatch.setenv("GATEHOUSE_PROT", "1")
    assert "GATEHOUSE_PORT" in failure()


def test_variables_of_others_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's targets, and what Kubernetes sets for a service named gatehouse."""
    monkeypatch.setenv("GATEHOUSE_TARGET", "localhost:1")
    monkeypatch.setenv("GATEHOUSE_ADMIN_TARGET", "localhost:2")
    monkeypatch.setenv("GATEHOUSE_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("GATEHOUSE_PORT_50051_TCP_ADDR", "10.0.0.1")
    assert load_settings().port == 50051


@pytest.mark.parametrize("content", [b"port = ", b"\xff\xfe"])
def test_a_file_that_is_not_toml_is_one_line(tmp_path: Path, content: bytes) -> None:
    """Neither is one that is not there."""
    file = tmp_path / "x.toml"
    file.write_bytes(content)
    for path in (file, tmp_path / "nowhere.toml"):
        with pytest.raises(SettingsError) as caught:
            load_settings(config=path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented(name: str) -> None:
    """docs/settings.md has a row with the flag, the variable, the default and the description."""
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    field = Settings.model_fields[name]
    words = choices(field)
    meaning = f"{field.description} One of: {', '.join(words)}." if words else field.description
    row = f"| `{flag_of(name)}` | `{variable_of(name)}` | {described_default(field)} | {meaning} |"
    assert row in page.splitlines()


def test_nothing_is_documented_that_is_no_setting() -> None:
    """As many rows as settings."""
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert len(re.findall(r"^\| `--", page, re.MULTILINE)) == len(Settings.model_fields)
