"""`gatehouse models verify`: what it prints of a sound folder, and how it ends with another."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gatehouse_server.models.folder import load_folder
from gatehouse_server.network.network import Network

from tests.client.commands import run
from tests.tiny import write_tiny_keyboard, write_tiny_transducer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound folder."""
    return write_tiny_keyboard(tmp_path / "keyboard" / "1")


def change(folder: Path, changed: Callable[[dict[str, Any]], object]) -> None:
    """Changes config.json."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    changed(config)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def put_header(folder: Path, header: str) -> None:
    """Weights that are a header and nothing else."""
    content = header.encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(content)) + content)


def put_pipe(folder: Path) -> None:
    """A named pipe, which whoever reads it waits for, in the place of the weights."""
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")


def test_a_sound_folder_is_told_line_by_line(folder: Path) -> None:
    """Name, fingerprint, and a line for each check; exit code 0."""
    result = run("models", "verify", folder)
    assert (result.exit_code, result.stderr) == (0, "")
    first, second, *checks = result.stdout.splitlines()
    assert first.split() == ["model", "keyboard@1"]
    assert second.split() == ["fingerprint", load_folder(folder).fingerprint]
    names = "files weights steps documents neighbours finite scores reproducible text"
    assert [check.split()[:2] for check in checks] == [["ok", name] for name in names.split()]


def test_the_same_as_json(folder: Path) -> None:
    """One object, with the same checks."""
    told = json.loads(run("models", "verify", folder, "--json").stdout)
    assert told["model"] == "keyboard@1"
    assert told["passed"] is True
    assert told["fingerprint"] == load_folder(folder).fingerprint
    assert {check["name"] for check in told["checks"]} >= {"files", "weights", "steps", "text"}


def test_both_networks_of_a_transducer_are_tested(tmp_path: Path) -> None:
    """Each with its name before the check's."""
    told = json.loads(
        run("models", "verify", write_tiny_transducer(tmp_path / "dates" / "1"), "--json").stdout
    )
    names = {check["name"] for check in told["checks"]}
    assert {"encoder neighbours", "decoder steps", "decoder scores"} <= names


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda folder: change(folder, lambda c: c.update(name="other")), "name: expected 'keyboard'"),
        (
            lambda folder: change(folder, lambda c: c["recurrent"].update(hidden_size=2**31 - 1)),
            "expected (8589934588, 16), got (128, 16)",
        ),
        (
            lambda folder: change(folder, lambda c: c["recurrent"].update(layers=[{}] * 100_000)),
            "should have at most 64 items",
        ),
        (
            lambda folder: change(folder, lambda c: c.update(initial={"size": 2**31 - 1})),
            "lacks initial.bias (48), initial.weight (48, 2147483647)",
        ),
        (lambda folder: (folder / "config.json").write_text("[" * 100_000), "is nested too deeply"),
        (lambda folder: (folder / "config.json").write_text("9" * 5000), "is not valid JSON"),
        (lambda folder: (folder / "display.json").write_text("[" * 100_000), "is nested too deeply"),
        (lambda folder: (folder / "display.json").write_text("9" * 5000), "display.json is not valid JSON"),
        (lambda folder: put_header(folder, '{"a":' + "[" * 100_000), "its header is damaged"),
        (
            lambda folder: put_header(
                folder,
                '{"a": {"dtype": "F32", "shape": [4294967296, 4294967296], "data_offsets": [0, 0]}}',
            ),
            "is not readable",
        ),
        (
            lambda folder: os.truncate(folder / "model.safetensors", 1000),
            "is truncated: expected 24488 bytes, got 1000",
        ),
        (
            # Never read: it is larger than any memory, and takes no room on the disk.
            lambda folder: os.truncate(folder / "model.safetensors", 2**42),
            "is longer than its header says: expected 24488 bytes",
        ),
        (lambda folder: os.truncate(folder / "tokenizer.json", 2**42), "and may be 268435456"),
        (put_pipe, "is no regular file"),
    ],
)
def test_a_defect_is_one_line_and_exit_code_1(
    folder: Path, spoil: Callable[[Path], object], told: str
) -> None:
    """Absurd sizes, damage and what is no file are refused before they cost memory or time."""
    spoil(folder)
    result = run("models", "verify", folder)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"Error: {folder}")
    assert result.stderr.count("\n") == 1
    assert told in result.stderr.replace(".json:", ".json")


def test_a_defect_as_json(folder: Path) -> None:
    """The problem is in the object, and on standard error."""
    (folder / "config.json").unlink()
    result = run("models", "verify", folder, "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["passed"]) == (1, False)
    assert "config.json is missing" in told["problem"]
    assert result.stderr.startswith("Error: ")


def test_a_check_that_fails_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All checks are told, the failed one again at the end; exit code 1."""
    step = Network.encode
    monkeypatch.setattr(Network, "encode", lambda *arguments: step(*arguments) + 0.1)
    result = run("models", "verify", folder)
    assert result.exit_code == 1
    assert "FAILED documents" in result.stdout
    assert result.stderr == f"Error: {folder}: 1 of 9 checks failed: documents\n"
