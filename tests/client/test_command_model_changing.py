"""`gatehouse models load`, `unload` and `reload`."""

from __future__ import annotations

import json
from pathlib import Path

import grpc
import pytest

from tests.client.commands import run
from tests.client.fake_server import FakeServer
from tests.client.fake_status import refusal


def test_load_names_the_folder_from_the_root(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path is relative to where the command is typed; a line tells what became of the model."""
    monkeypatch.chdir(tmp_path)
    result = run("models", "load", "keyboard/2", admin_target=server.admin_target)
    assert server.admin.folders == [str(tmp_path / "keyboard" / "2")]
    assert result.stdout == (
        "keyboard@2           replaced in 0.25 s, fingerprint abababababab; 1 session goes on with what it was\n"
    )


def test_a_folder_with_a_defect_is_told_in_one_line(server: FakeServer) -> None:
    """As the server says it; the exit code is 2."""
    problem = "/m/keyboard/2/config.json: is missing; write it"
    server.admin.calls_to_refuse = [
        refusal(grpc.StatusCode.FAILED_PRECONDITION, problem, reason="MODEL_FOLDER_INVALID")
    ]
    result = run("models", "load", "/m/keyboard/2", admin_target=server.admin_target)
    assert (result.exit_code, result.stdout) == (2, "")
    assert problem in result.stderr


def test_unload_tells_how_many_go_on(server: FakeServer) -> None:
    """With `--force`, how many were ended."""
    result = run("models", "unload", "keyboard@1", admin_target=server.admin_target)
    assert result.stdout == "keyboard@1           unloaded; 3 sessions go on with what it was\n"
    result = run("models", "unload", "keyboard@1", "--force", admin_target=server.admin_target)
    assert result.stdout.splitlines()[1] == "2 sessions ended"
    assert server.admin.unloaded == [("keyboard@1", False), ("keyboard@1", True)]


def test_reload_has_a_line_for_each_model_and_a_code_for_defects(server: FakeServer) -> None:
    """What became of the others counts nevertheless."""
    result = run("models", "reload", admin_target=server.admin_target)
    assert result.exit_code == 1
    first, second = result.stdout.splitlines()
    assert first.startswith("keyboard@2           replaced in 0.25 s")
    assert second == "broken@1             failed: config.json is missing"
    del server.admin.changes[1]
    assert run("models", "reload", admin_target=server.admin_target).exit_code == 0


def test_all_of_it_as_json(server: FakeServer) -> None:
    """An object of a change, an array of a reload."""
    loaded = json.loads(run("models", "load", "/m/k/1", "--json", admin_target=server.admin_target).stdout)
    assert (loaded["change"], loaded["leaving_sessions"]) == ("replaced", 1)
    result = run("models", "unload", "keyboard@1", "--force", "--json", admin_target=server.admin_target)
    assert json.loads(result.stdout)["evicted_sessions"] == 2
    result = run("models", "reload", "--json", admin_target=server.admin_target)
    assert [change["change"] for change in json.loads(result.stdout)] == ["replaced", "failed"]
