"""The command as a process: help, exit codes, signals and pipes."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from gatehouse.command.main import gatehouse

from tests.client.commands import run
from tests.client.fake_server import FakeServer

_COMMAND = [sys.executable, "-c", "from gatehouse.command.main import main; main()"]


def _environment(server: FakeServer) -> dict[str, str]:
    return {**os.environ, "GATEHOUSE_TARGET": server.target}


def test_help_imports_neither_grpc_nor_torch() -> None:
    """Overview and help of a command come without heavy imports, and name every command."""
    code = (
        "import sys\n"
        "from gatehouse.command.main import gatehouse\n"
        "for command in ([], ['suggest'], ['classify'], ['evaluate'], ['models'], ['sessions']):\n"
        "    gatehouse.main([*command, '--help'], standalone_mode=False)\n"
        "print(sorted({'grpc', 'torch', 'google', 'rich', 'prompt_toolkit'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for name in ("serve", "suggest", "classify", "evaluate", "models", "sessions"):
        assert f"  {name} " in done.stdout


def test_a_command_of_another_package_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entry points of the group `gatehouse.commands` are commands."""
    entry = importlib.metadata.EntryPoint(
        "extra", "gatehouse.command.models:list_models", "gatehouse.commands"
    )
    _replace_entry_points(monkeypatch, entry)
    assert "List all models" in run("extra", "--help").stdout


def test_a_command_whose_package_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """`gatehouse serve` without the server's packages names the extra to install, in one line."""
    entry = importlib.metadata.EntryPoint("serve", "no_such_package.command:serve", "gatehouse.commands")
    _replace_entry_points(monkeypatch, entry)
    result = run("serve")
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: `gatehouse serve` needs no_such_package, which is not installed: "
        "pip install 'gatehouse[server]'\n"
    )
    assert "serve" in run("--help").stdout


def test_commands_of_other_packages_join_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entry points of the group `gatehouse.commands.models` are commands of `models`; none hides one of ours."""
    target = "gatehouse.command.sessions:list_sessions"
    _replace_entry_points(
        monkeypatch,
        importlib.metadata.EntryPoint("extra", target, "gatehouse.commands.models"),
        importlib.metadata.EntryPoint("list", target, "gatehouse.commands.models"),
    )
    assert "--admin-target" in run("models", "extra", "--help").stdout
    assert "--admin-target" not in run("models", "list", "--help").stdout
    assert run("models", "--help").stdout.count("  list ") == 1


def test_what_models_lacks_without_the_server_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """`gatehouse models verify` without torch names the extra; the overview needs none of it."""
    entry = importlib.metadata.EntryPoint(
        "verify", "no_such_package.verify:verify", "gatehouse.commands.models"
    )
    _replace_entry_points(monkeypatch, entry)
    assert "fingerprint" in run("models", "--help").stdout
    result = run("models", "verify", "folder")
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: `gatehouse models verify` needs no_such_package, which is not installed: "
        "pip install 'gatehouse[server]'\n"
    )


def _replace_entry_points(monkeypatch: pytest.MonkeyPatch, *replaced: importlib.metadata.EntryPoint) -> None:
    def entry_points(*, group: str, name: str | None = None) -> list[importlib.metadata.EntryPoint]:
        return [entry for entry in replaced if group == entry.group and name in (None, entry.name)]

    monkeypatch.setattr("gatehouse.command.groups.entry_points", entry_points)


def test_wrong_usage_is_exit_code_2() -> None:
    """An unknown command or option could not run."""
    assert run("nonsense").exit_code == 2
    assert run("suggest", "--nonsense").exit_code == 2
    assert run("classify").exit_code == 2


def test_the_version_is_told() -> None:
    """`--version` prints the installed version."""
    assert run("--version").stdout == f"gatehouse {importlib.metadata.version('gatehouse')}\n"


def test_ctrl_c_ends_quietly(tmp_path: Path, server: FakeServer) -> None:
    """An interrupt in the middle of a classification ends with exit code 130 and without a traceback."""
    server.offline.stall.clear()
    try:
        process = subprocess.Popen(
            [*_COMMAND, "classify", "-", "--format", "txt"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(server),
            cwd=tmp_path,
        )
        assert process.stdin is not None
        process.stdin.write(b"plants\n")
        process.stdin.flush()
        assert server.offline.began.wait(30)
        process.send_signal(signal.SIGINT)
        # Standard input stays open: a thread of the command still waits for its next line.
        assert process.wait(30) == 130
        _, errors = process.communicate(timeout=30)
    finally:
        server.offline.stall.set()
    assert b"Traceback" not in errors


def test_a_reader_that_leaves_ends_it_quietly(tmp_path: Path, server: FakeServer) -> None:
    """With `| head -1` the command ends by itself, says nothing, and its exit code is 141."""
    (tmp_path / "many.txt").write_text("plants\n" * 50_000)
    process = subprocess.Popen(
        [*_COMMAND, "classify", "many.txt"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(server),
        cwd=tmp_path,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 141


def test_the_group_is_what_is_installed() -> None:
    """The installed `gatehouse` script starts this command."""
    (entry,) = importlib.metadata.entry_points(group="console_scripts", name="gatehouse")
    assert entry.value == "gatehouse.command.main:main"
    assert gatehouse.name == "gatehouse"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_is_one_line_and_not_a_traceback() -> None:
    """When standard output cannot be written, the command says so and ends with the code for that."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [str(Path(sys.executable).with_name("gatehouse")), "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == "Error: cannot write the output: No space left on device\n"
