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


def test_show_is_a_page(server: FakeServer) -> None:
    """Facts, then matrices by layer with their formulas and sums, then what a step and a session cost."""
    shown = run("models", "show", "keyboard", target=server.target).stdout
    assert (
        shown
        == f"""\
model        keyboard@1
what it is   Ten words.
task         language model, runs sessions
input        tokens, 10 in the vocabulary, from text
layer 0      lstm, 6 to 4, peepholes
arithmetic   float32, answers reproducible to the bit
fingerprint  {"00" * 32}

parameters               dimensions  count  formula
embedding
  weight                     10 x 6     60  V·E
layer 0
  weight_ih                  16 x 6     96  4·H·E
  bias_ih                        16     16  4·H
  together                             112  4·(E + 1 + 0)·H
  with one bias (Keras)                 96  4·E·H
head
  weight                                    that of the embedding
  bias                           10     10  V
all                                    182
where V = 10  E = 6  H = 4

a step       1.23 MFLOP in matrix products, 5,000 bytes of weights read
a session    32 bytes of state; 44.7 kB while it is live, with earlier states and a tape of 50 steps
the model    168 bytes of memory, loaded in 0.00 s
"""
    )


def test_show_as_json_has_all_of_it(server: FakeServer) -> None:
    """`--json` prints one object; `--card` the card alone."""
    told = json.loads(run("models", "show", "keyboard", "--json", target=server.target).stdout)
    assert told["online"] is True
    assert told["dimensions"] == {"V": 10, "E": 6, "H": 4}
    assert (told["step_flops"], told["step_bytes"], told["session_bytes"]) == (1_234_567, 5_000, 44_700)
    (layer,) = told["recurrent_layers"]
    assert layer["options"] == ["peepholes"]
    assert layer["parameter_sums"][0]["one_bias_count"] == 96
    assert run("models", "show", "keyboard", "--card", target=server.target).stdout.startswith("# keyboard")


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
