"""What an operator types, against a real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gatehouse import Client, errors

from tests.client.commands import run
from tests.service.conftest import Served
from tests.tiny import write_tiny_melody


def test_status_tells_of_the_work_that_was_just_done(served: Served) -> None:
    """Steps, answers, sessions and models, those that failed included; the server is ready."""
    with Client(served.target) as client:
        session = client.session("keyboard")
        for _ in range(20):
            session.append(tokens=[5, 9])
        result = run("status", "--json", admin_target=served.admin)
        session.delete()
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["phase"], told["problems"], told["store"]["kind"]) == ("serving", {}, "memory")
    assert told["steps_per_second"] > 0
    assert {each["operation"] for each in told["operations"]} >= {"write"}
    models = {each["model"]: each for each in told["models"]}
    assert models["broken@1"]["status"] == "failed"
    assert models["keyboard@1"]["sessions"] >= 1
    shown = run("status", admin_target=served.admin).stdout
    assert "keyboard@1 ready" in shown


def test_a_model_comes_and_goes(served: Served, tmp_path: Path) -> None:
    """Loaded, used, unloaded with its session, gone; what is broken stays broken and is told."""
    folder = write_tiny_melody(tmp_path / "melody" / "1")
    loaded = run("models", "load", str(folder), admin_target=served.admin)
    assert loaded.stdout.startswith("melody@1             loaded in "), loaded.output
    with Client(served.target) as client:
        session = client.session("melody")
        session.append(tokens=[3])
        reloaded = run("models", "reload", admin_target=served.admin)
        assert reloaded.exit_code == 1
        lines = {line.split()[0]: line for line in reloaded.stdout.splitlines()}
        assert lines["melody@1"].split()[1] == "unchanged"
        assert "broken@1             failed: " in lines["broken@1"]
        unloaded = run("models", "unload", "melody@1", admin_target=served.admin)
        assert unloaded.stdout == "melody@1             unloaded; 1 session goes on with what it was\n"
        assert session.append(tokens=[4]).position == 2
        again = run("models", "unload", "melody@1", "--force", admin_target=served.admin)
        assert again.stdout.splitlines()[1] == "1 session ended"
        with pytest.raises(errors.SessionEvictedError):
            session.append(tokens=[5])
    gone = run("models", "unload", "melody@1", admin_target=served.admin)
    assert gone.exit_code == 2
    assert "no model 'melody@1'" in gone.stderr


def test_a_folder_with_a_defect_is_one_line(served: Served) -> None:
    """It names the file and what to mend."""
    result = run("models", "load", str(served.models / "broken" / "1"), admin_target=served.admin)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "model.safetensors" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
