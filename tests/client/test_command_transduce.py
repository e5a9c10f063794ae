"""`gatehouse transduce`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gatehouse.v1 import model_pb2

from tests.client.commands import json_lines, run
from tests.client.fake_server import FakeServer


@pytest.fixture
def target(server: FakeServer) -> str:
    """A server that has a transducer, too."""
    server.models.served["dates"] = model_pb2.Model(
        name="dates",
        version="1",
        status=model_pb2.MODEL_STATUS_READY,
        task="transducer",
        tokens=model_pb2.TokenInput(vocabulary_size=10, accepts_text=True),
    )
    return server.target


def test_each_text_gives_a_line(target: str) -> None:
    """In their order, the best output of each."""
    result = run("transduce", "3 march", "may the 4th", target=target)
    assert (result.exit_code, result.output) == (0, "hcram 3\nht4 eht yam\n")


def test_alternatives_stand_beside_each_other(target: str, server: FakeServer) -> None:
    """Separated by tabs, best first; what was asked is sent."""
    result = run(
        *["transduce", "march", "--beam-size", "5", "--alternatives", "2", "--length-penalty", "0.6"],
        *["--max-output-steps", "20"],
        target=target,
    )
    assert result.output == "hcram\tMARCH\n"
    sent = server.offline.transduce_options
    assert sent is not None
    assert (sent.beam_size, sent.alternatives, sent.max_output_steps) == (5, 2, 20)
    assert sent.length_penalty == pytest.approx(0.6)


def test_json_tells_everything(target: str) -> None:
    """An object a text, with all outputs where more than one was asked for."""
    one, two = json_lines(run("transduce", "may", "june", "--json", target=target).output)
    assert one == {"input": "may", "text": "yam", "log_probability": -0.5, "score": -0.25, "ended": True}
    assert two["text"] == "enuj"
    (both,) = json_lines(
        run("transduce", "may", "--json", "--beam-size", "2", "--alternatives", "2", target=target).output
    )
    assert [each["text"] for each in both["alternatives"]] == ["yam", "MAY"]


def test_each_line_of_a_pipe_gives_a_line(target: str) -> None:
    """Also one that failed: an empty one, and the reason on standard error; the exit code tells."""
    result = run("transduce", stdin="may\nfail\njune\n", target=target)
    assert (result.exit_code, result.stdout) == (1, "yam\n\nenuj\n")
    assert "'fail': text: bad" in result.stderr


def test_a_line_of_a_pipe_that_is_not_utf_8_fails_alone(target: str) -> None:
    """In whatever locale; the lines around it have their outputs."""
    result = run("transduce", stdin=b"may\n\xff\njune\n", target=target)
    assert (result.exit_code, result.stdout) == (1, "yam\n\nenuj\n")


def test_documents_of_files_give_json(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `gatehouse classify` reads them, with their ids; failed ones go into their own file."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "days.jsonl"
    rows = [{"id": "a", "text": "may"}, {"id": "b", "text": "fail"}, {"id": "c", "text": "june"}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = run("transduce", "--file", file, "--in-order", target=target)
    assert result.exit_code == 1
    first, second = json_lines(result.stdout)
    assert first == {"id": "a", "text": "yam", "log_probability": -0.5, "score": -0.25, "ended": True}
    assert (second["id"], second["text"]) == ("c", "enuj")
    (failed,) = json_lines((tmp_path / "errors.jsonl").read_text())
    assert (failed["id"], failed["reason"]) == ("b", "TEXT_NOT_ENCODABLE")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("may", "--alternatives", "2"), "a beam of 1 has no more than 1"),
        (("may", "--file", "days.jsonl"), "give texts or --file, not both"),
        (("may", "--model", "topics"), "topics is a classifier, not a transducer"),
        (("--file", "absent.jsonl"), "absent.jsonl"),
        (("may", "--beam-size", "0"), "0 is not in the range"),
        (("may", "--length-penalty", "-1"), "-1.0 is not in the range"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(target: str, arguments: tuple[str, ...], told: str) -> None:
    """Before anything is sent, with exit code 2."""
    result = run("transduce", *arguments, target=target)
    assert result.exit_code == 2
    assert told in result.output
