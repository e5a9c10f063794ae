"""`gatehouse models`."""

from __future__ import annotations

import json

from tests.client.commands import run
from tests.client.fake_server import FakeServer


def test_list_shows_every_model(server: FakeServer) -> None:
    """A line for each model; one that failed to load says what to mend."""
    result = run("models", "list", target=server.target)
    assert result.exit_code == 0
    broken, keyboard, topics = result.stdout.splitlines()
    assert broken.split(maxsplit=1) == ["broken@1", "failed: config.json: no such file"]
    assert "language model, online" in keyboard
    assert "both directions (concat)" in topics


def test_list_as_json(server: FakeServer) -> None:
    """`--json` prints all of it as one array."""
    found = json.loads(run("models", "list", "--json", target=server.target).stdout)
    assert [model["name"] for model in found] == ["broken", "keyboard", "topics"]
    assert found[2]["labels"] == ["animals", "plants", "stones"]


def test_show_has_parameters_and_formulas(server: FakeServer) -> None:
    """`show` tells each matrix with its formula; `--card` prints the card alone."""
    shown = run("models", "show", "keyboard", target=server.target).stdout
    assert "6 x 7" in shown
    assert "= 6·7" in shown
    assert run("models", "show", "keyboard", "--card", target=server.target).stdout.startswith("# keyboard")
    assert (
        json.loads(run("models", "show", "keyboard", "--json", target=server.target).stdout)["online"] is True
    )


def test_show_tells_the_arithmetic_and_claims_no_more_than_was_proved(server: FakeServer) -> None:
    """Answers are called reproducible only where the server says so."""
    proved = run("models", "show", "keyboard", target=server.target).stdout.splitlines()
    assert "arithmetic   float32, answers reproducible to the bit" in proved
    other = run("models", "show", "topics", target=server.target).stdout.splitlines()
    assert "arithmetic   bfloat16" in other


def test_show_of_no_model_says_where_to_look(server: FakeServer) -> None:
    """An unknown name points at `models list`, exit code 2."""
    result = run("models", "show", "nope", target=server.target)
    assert result.exit_code == 2
    assert result.stderr == "Error: no model 'nope'. See `gatehouse models list`\n"
