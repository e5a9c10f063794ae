"""The Makefile: what it installs for what, a second run that starts at once, what it says without Python."""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TARGETS = ("serve", "demo", "test", "lint", "protos", "clean", "help")
# Set by a `make test` around the tests.
OF_MAKE = {"MAKEFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "MFLAGS", "ARGS", "PYTHON", "TORCH_INDEX", "VENV"}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What the Makefile reads, in a folder where nothing has been installed."""
    folder = tmp_path / "clone"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    return folder


def make(clone: Path, *arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run make there; with `path`, only commands of that folder and the shell's own are found."""
    environment = {name: value for name, value in os.environ.items() if name not in OF_MAKE}
    environment |= {"PATH": str(path)} if path else {}
    command = [shutil.which("make") or "make", *arguments]
    return subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True)


def installed(clone: Path, *stamps: str) -> None:
    """Leave what an installation leaves."""
    for name in ("bin/python", *stamps):
        (clone / ".venv" / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / ".venv" / name).touch()


def interpreter(folder: Path, name: str, version: tuple[int, int]) -> None:
    """Put a program into `folder` that runs what `-c` is given as a Python of this version would."""
    folder.mkdir(exist_ok=True)
    pretend = f"import sys; sys.version_info = {(*version, 0)}; exec(sys.argv[1])"
    script = f"""\
        #!/bin/sh
        [ "$1" = -c ] && exec {sys.executable} -c '{pretend}' "$2"
        echo "{name} was told: $*"
        """
    (folder / name).write_text(textwrap.dedent(script), encoding="utf-8")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize("target", TARGETS)
def test_target_exists_and_is_explained(clone: Path, target: str) -> None:
    """Each promised target can be planned on a fresh clone, and `make help` has a line for it."""
    assert make(clone, "--dry-run", target).returncode == 0
    assert f"make {target} " in make(clone, "help").stdout


def test_make_alone_explains() -> None:
    """`make` without a target changes nothing and prints the help."""
    assert make(ROOT).stdout == make(ROOT, "help").stdout


@pytest.mark.parametrize(("target", "extra"), [("serve", "server"), ("demo", "server"), ("test", "dev")])
def test_target_installs_what_it_needs_and_no_more(clone: Path, target: str, extra: str) -> None:
    """To serve, the development tools are not installed; all versions come from constraints.txt."""
    plan = make(clone, "--dry-run", target).stdout
    lines = [line for line in plan.splitlines() if "--editable" in line]
    assert len(lines) == 1
    assert f"'.[{extra}]'" in lines[0]
    assert "--constraint constraints.txt" in lines[0]
    assert "--extra-index-url" not in lines[0]


def test_torch_index_is_handed_to_pip(clone: Path) -> None:
    """TORCH_INDEX adds one package index to the installation."""
    plan = make(clone, "--dry-run", "serve", "TORCH_INDEX=https://example.org/cpu").stdout
    assert '--extra-index-url "https://example.org/cpu"' in plan


def test_arguments_reach_the_server(clone: Path) -> None:
    """ARGS is what `gatehouse serve` gets."""
    plan = make(clone, "--dry-run", "serve", "ARGS=--port 50052")
    assert "gatehouse serve --port 50052" in plan.stdout


def test_a_second_run_installs_nothing(clone: Path) -> None:
    """With the installation in place, `make serve` is the server's command line alone."""
    installed(clone, ".installed-server")
    plan = make(clone, "--dry-run", "serve").stdout
    assert plan.splitlines() == ["exec .venv/bin/gatehouse serve "]


@pytest.mark.parametrize("changed", ["pyproject.toml", "constraints.txt"])
def test_a_changed_requirement_installs_again(clone: Path, changed: str) -> None:
    """After a pull that changes requirements, the next run installs them."""
    installed(clone, ".installed-server")
    stamp = (clone / ".venv" / ".installed-server").stat()
    os.utime(clone / changed, (stamp.st_atime + 10, stamp.st_mtime + 10))
    assert "--editable '.[server]'" in make(clone, "--dry-run", "serve").stdout


def test_without_a_suitable_python_one_line_says_what_to_do(clone: Path, tmp_path: Path) -> None:
    """An old Python is not used: the message names the version needed and how to name another."""
    interpreter(tmp_path / "bin", "python3", (3, 10))
    result = make(clone, "serve", path=tmp_path / "bin")
    message = result.stderr.splitlines()[0]
    assert result.returncode != 0
    assert "No Python 3.11 or newer" in message
    assert "make PYTHON=/path/to/python3.11 serve" in message
    assert not (clone / ".venv").exists()


def test_an_old_python_is_passed_over(clone: Path, tmp_path: Path) -> None:
    """Where `python3` is too old, a newer one beside it makes .venv."""
    interpreter(tmp_path / "bin", "python3", (3, 10))
    interpreter(tmp_path / "bin", "python3.12", (3, 12))
    assert "python3.12 was told: -m venv .venv" in make(clone, "serve", path=tmp_path / "bin").stdout


def test_the_python_that_was_named_is_used(clone: Path, tmp_path: Path) -> None:
    """PYTHON comes before every interpreter that would be found."""
    interpreter(tmp_path / "bin", "python3", (3, 13))
    interpreter(tmp_path / "other", "mine", (3, 11))
    result = make(clone, "serve", f"PYTHON={tmp_path}/other/mine", path=tmp_path / "bin")
    assert "mine was told: -m venv .venv" in result.stdout


def test_a_named_python_that_is_too_old_is_refused(clone: Path, tmp_path: Path) -> None:
    """PYTHON is never replaced by another interpreter, even if that would do."""
    interpreter(tmp_path / "bin", "python3", (3, 13))
    interpreter(tmp_path / "other", "old", (3, 10))
    result = make(clone, "serve", f"PYTHON={tmp_path}/other/old", path=tmp_path / "bin")
    assert "was told: -m venv" not in result.stdout
    assert f"at {tmp_path}/other/old" in result.stderr


def test_the_checks_run_before_the_tests() -> None:
    """`.ci/run` is executable shell, its stages are targets of the Makefile, and the tests come last."""
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", str(script)]).returncode == 0
    (loop,) = (line for line in script.read_text(encoding="utf-8").splitlines() if "for current in" in line)
    stages = loop.partition(" in ")[2].removesuffix("; do").split()
    assert stages == ["install", "ruff", "types", "proto-lint", "proto-breaking", "proto-drift", "test"]
    for stage in stages:
        assert make(ROOT, "--dry-run", stage).returncode == 0
