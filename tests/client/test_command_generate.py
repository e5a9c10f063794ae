"""`gatehouse generate`."""

from __future__ import annotations

import pytest

from tests.client.commands import json_lines, run
from tests.client.fake_server import FakeServer


def test_a_text_is_continued(server: FakeServer) -> None:
    """Text and continuation stand on one line."""
    result = run("generate", "how are", "--max-steps", "2", target=server.target)
    assert (result.exit_code, result.stdout) == (0, "how are you doing\n")


def test_without_a_text_one_is_begun(server: FakeServer) -> None:
    """The continuation stands alone. An empty text is none."""
    for arguments in ((), ("",)):
        result = run("generate", *arguments, "--max-steps", "2", target=server.target)
        assert (result.exit_code, result.stdout) == (0, "how are\n")
    assert server.online.generations[-1].WhichOneof("prompt") is None


def test_several_continuations_have_a_line_each(server: FakeServer) -> None:
    """In their order, each behind the text."""
    arguments = ("generate", "how are", "--max-steps", "2", "--alternatives", "2", "--temperature", "0.8")
    result = run(*arguments, target=server.target)
    assert result.stdout == "how are you doing\nhow are doing today\n"


def test_the_same_continuation_several_times_is_refused(server: FakeServer) -> None:
    """The likeliest token each time gives the same each time; one line says what to add."""
    for sampling in ((), ("--temperature", "0")):
        result = run("generate", "how", "--alternatives", "2", *sampling, target=server.target)
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1
        assert "--temperature 0.8" in result.stderr
    assert server.online.generations == []


def test_json_has_each_continuation_with_its_tokens(server: FakeServer) -> None:
    """One object a line, in order, with the reason of its end."""
    arguments = ("generate", "today", "--alternatives", "2", "--seed", "1", "--max-steps", "5", "--json")
    lines = json_lines(run(*arguments, target=server.target).stdout)
    assert [line["alternative"] for line in lines] == [0, 1]
    first = lines[0]
    assert (first["text"], first["reason"]) == (" i am", "stop")
    assert [(token["id"], token["text"]) for token in first["tokens"]] == [(8, " i"), (9, " am")]
    assert first["log_probability"] < first["tokens"][0]["log_probability"] < 0


def test_options_are_passed_on(server: FakeServer) -> None:
    """What is not given is not sent; a session brings its own model."""
    run("generate", "how", target=server.target)
    plain = server.online.generations[-1]
    assert (plain.model, plain.session_id, plain.alternatives) == ("keyboard", "", 1)
    assert not plain.HasField("sampling")
    assert not plain.HasField("max_steps")
    options = ("--session", "s", "--temperature", "0.5", "--top-k", "4", "--top-p", "0.5", "--seed", "7")
    run("generate", *options, target=server.target)
    drawn = server.online.generations[-1]
    assert (drawn.model, drawn.session_id) == ("", "s")
    sampling = drawn.sampling
    assert (sampling.temperature, sampling.top_k, sampling.top_p, sampling.seed) == (0.5, 4, 0.5, 7)
    run("generate", "how", "--model", "novels", target=server.target)
    assert server.online.generations[-1].model == "novels"


@pytest.mark.parametrize(
    "options", [("--top-p", "0"), ("--temperature", "-1"), ("--seed", "-1"), ("--alternatives", "0")]
)
def test_what_cannot_be_is_refused(server: FakeServer, options: tuple[str, str]) -> None:
    """Before anything is asked."""
    result = run("generate", "how", *options, target=server.target)
    assert result.exit_code == 2
    assert options[0] in result.stderr
    assert server.online.generations == []


def test_failures_are_told_in_one_line(server: FakeServer) -> None:
    """A refusal and a missing server; nothing is printed before."""
    refused = run("generate", "how", "--max-steps", "2000", target=server.target)
    assert (refused.exit_code, refused.stdout, refused.stderr) == (2, "", "Error: at most 1000\n")
    missing = run("generate", "how", target="127.0.0.1:1")
    assert missing.exit_code == 2
    assert missing.stderr.startswith("Error: cannot reach 127.0.0.1:1.")
