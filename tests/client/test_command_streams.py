"""What commands read from and write to, when it is not a plain file: pipes, closed streams, other encodings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.client.commands import json_lines, run
from tests.client.fake_server import FakeServer

_COMMAND = [sys.executable, "-c", "from gatehouse.command.main import main; main()"]


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="there is no /dev/fd here")
@pytest.mark.parametrize(
    ("file_format", "content", "ids"),
    [("tsv", b"id\ttext\na\tplants\nb\tstones\n", ["a", "b"]), ("txt", b"plants\nstones\n", [1, 2])],
)
def test_a_pipe_given_as_a_file_is_read_once_and_whole(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    server: FakeServer,
    file_format: str,
    content: bytes,
    ids: list[object],
) -> None:
    """`<(command)` in a shell is a pipe with a name: nothing of it gets lost in looking at its columns first."""
    monkeypatch.chdir(tmp_path)
    reading, writing = os.pipe()
    os.write(writing, content)
    os.close(writing)
    try:
        name = f"/dev/fd/{reading}"
        result = run("classify", name, "--format", file_format, "--in-order", target=server.target)
    finally:
        os.close(reading)
    assert result.exit_code == 0, result.output
    assert [line["id"] for line in json_lines(result.stdout)] == ids


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", b'{"id": "x\\ud800", "text": "plants"}\n{"id": "y", "text": "stones"}\n'),
        ("a.tsv", b"id\ttext\nx\xff\tplants\ny\tstones\n"),
    ],
)
def test_an_id_that_is_not_utf_8_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: FakeServer, name: str, content: bytes
) -> None:
    """An id that could not be written with its result makes its row fail, and not the run."""
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(content)
    result = run("classify", name, "-o", "out.jsonl", target=server.target)
    assert result.exit_code == 1, result.output
    assert [line["id"] for line in json_lines(Path("out.jsonl").read_text())] == ["y"]
    (failed,) = json_lines(Path("out.jsonl.errors.jsonl").read_text())
    assert failed["message"].endswith("the id is not valid UTF-8")


def test_a_name_that_is_not_utf_8_is_written_as_well_as_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: FakeServer
) -> None:
    """Of several files the name is part of the id; bytes in it that are no UTF-8 do not end the run."""
    monkeypatch.chdir(tmp_path)
    strange = os.fsdecode(b"a\xff.txt")
    for name in (strange, "b.txt"):
        Path(name).write_text("plants\n")
    result = run("classify", strange, "b.txt", "-o", "out.jsonl", "--in-order", target=server.target)
    assert result.exit_code == 0, result.output
    assert [line["id"] for line in json_lines(Path("out.jsonl").read_text())] == ["a\ufffd.txt:1", "b.txt:1"]


def test_an_output_of_another_encoding_is_named(tmp_path: Path, server: FakeServer) -> None:
    """A character that standard output does not have is told as that, in one line, and not as bad input."""
    (tmp_path / "a.jsonl").write_text('{"id": "\\u0416", "text": "plants"}\n')
    done = subprocess.run(
        [*_COMMAND, "classify", "a.jsonl"],
        env={**os.environ, "GATEHOUSE_TARGET": server.target, "PYTHONIOENCODING": "ascii"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    told = "Error: standard output is ascii, which has no '\\u0416'; set PYTHONIOENCODING=utf-8\n"
    assert done.stderr == told


@pytest.mark.parametrize(
    "arguments", [("suggest", "how"), ("suggest",), ("generate", "how"), ("models", "list")]
)
def test_closed_standard_streams_are_empty_ones(server: FakeServer, arguments: tuple[str, ...]) -> None:
    """Started without standard input and output, as by some service managers, a command does its work."""
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&- >&-', "sh", *_COMMAND, *arguments],
        env={**os.environ, "GATEHOUSE_TARGET": server.target},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("suggest", "how", "-k"),
        ("generate", "how", "--max-steps"),
        ("generate", "how", "--top-k"),
        ("transduce", "3 march", "--beam-size"),
        ("classify", "-", "-k"),
        ("tag", "-", "-k"),
    ],
    ids=" ".join,
)
def test_a_number_too_large_to_be_sent_is_wrong_usage(arguments: tuple[str, ...]) -> None:
    """The option is named; there is no traceback of what packs messages."""
    result = run(*arguments, "99999999999")
    assert result.exit_code == 2
    assert f"Invalid value for '{arguments[-1]}': 99999999999 is more than can be asked for" in result.stderr
