"""`gatehouse suggest`."""

from __future__ import annotations

import json

from tests.client.commands import json_lines, run
from tests.client.fake_server import FakeServer


def test_a_text_gives_its_words(server: FakeServer) -> None:
    """The words stand on one line, best first, and no session is left behind."""
    result = run("suggest", "how are you do", target=server.target)
    assert (result.exit_code, result.stdout) == (0, "doing\tdone\n")
    assert server.online.sessions == {}


def test_json_has_session_and_log_probabilities(server: FakeServer) -> None:
    """`--json` prints one object, and the session that it names lives on."""
    result = run("suggest", "how are you do", "--json", "--session", "user-8f3a", target=server.target)
    answer = json.loads(result.stdout)
    assert answer["session"] == "user-8f3a"
    assert [entry["text"] for entry in answer["suggestions"]] == ["doing", "done"]
    assert answer["suggestions"][0]["log_probability"] < 0
    assert "user-8f3a" in server.online.sessions


def test_each_line_of_a_pipe_gives_a_line(server: FakeServer) -> None:
    """One line in, one line out, empty ones too, each on its own; no session is left behind."""
    result = run("suggest", "-k", "1", stdin="how \r\n\nare you do\n", target=server.target)
    assert result.stdout.splitlines() == ["are", "how", "doing"]
    assert server.online.sessions == {}
    as_json = run("suggest", "--json", stdin="how \nyou \n", target=server.target)
    assert [entry["suggestions"][0]["text"] for entry in json_lines(as_json.stdout)] == ["are", "doing"]


def test_options_are_passed_on(server: FakeServer) -> None:
    """`--exclude` may be given several times; -k limits."""
    arguments = ("suggest", "how ", "--exclude", "are", "--exclude", "you", "-k", "1")
    assert run(*arguments, target=server.target).stdout == "doing\n"


def test_a_server_that_is_not_there_is_told_in_one_line() -> None:
    """One line says what happened and what to type next; exit code 2."""
    result = run("suggest", "x", target="127.0.0.1:1")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == "Error: cannot reach 127.0.0.1:1. Start it with `make serve`, or pass --target\n"


def test_a_target_that_is_none_is_told() -> None:
    """A target without a port, or an address as browsers have them, is refused with an example."""
    for target in ("localhost", "http://localhost:50051"):
        result = run("suggest", "x", "--target", target)
        assert result.exit_code == 2
        assert "as localhost:50051" in result.stderr


def test_text_that_is_not_utf_8_is_told(server: FakeServer) -> None:
    """Bytes that are no text end it in one line that names theirs, in any locale; those before it are answered."""
    result = run("suggest", stdin=b"how \nare \xff\nhow \n", target=server.target)
    assert (result.exit_code, result.stdout.count("\n")) == (2, 1)
    assert result.stderr == "Error: standard input, line 2: not valid UTF-8; convert it first\n"
