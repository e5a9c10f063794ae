"""The committed stubs are those of the protos, and run on the versions that pyproject.toml asks for."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parent.parent
STUBS = ROOT / "client" / "gatehouse" / "v1"


def drift(root: Path) -> subprocess.CompletedProcess[str]:
    """`make proto-drift` in `root`, with the environment that runs the tests taken as installed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    stamp = f"{sys.prefix}/.installed-dev"
    return subprocess.run(
        ["make", f"VENV={sys.prefix}", "-o", stamp, "proto-drift"],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Protos, stubs and Makefile in a folder of their own, to be changed."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(ROOT / "protos", tmp_path / "protos")
    shutil.copytree(STUBS, tmp_path / "client" / "gatehouse" / "v1")
    return tmp_path


def test_stubs_are_those_of_the_protos() -> None:
    """Generating the stubs again changes nothing."""
    result = drift(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_changed_proto_is_noticed(copy: Path) -> None:
    """A field added to a proto without `make protos` fails, and the message says what to do."""
    path = copy / "protos" / "gatehouse" / "v1" / "model.proto"
    path.write_text(
        path.read_text(encoding="utf-8") + "\nmessage Added { int32 field = 1; }\n", encoding="utf-8"
    )
    result = drift(copy)
    assert result.returncode != 0
    assert "run make protos" in result.stderr


def test_a_stub_without_proto_is_noticed(copy: Path) -> None:
    """The stub of a proto that is gone fails too."""
    (copy / "client" / "gatehouse" / "v1" / "gone_pb2.py").touch()
    result = drift(copy)
    assert result.returncode != 0
    assert "gone_pb2.py" in result.stdout


@pytest.mark.parametrize(
    ("package", "stubs", "pattern"),
    [
        ("protobuf", "*_pb2.py", r"^# Protobuf Python Version: (\S+)$"),
        ("grpcio", "*_pb2_grpc.py", r"^GRPC_GENERATED_VERSION = '(\S+)'$"),
    ],
)
def test_the_floor_is_what_generated_the_stubs(package: str, stubs: str, pattern: str) -> None:
    """Generated code refuses an older runtime at import, so nothing older may be installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = {each.name: each for each in map(Requirement, project["dependencies"])}
    (floor,) = (Version(each.version) for each in required[package].specifier if each.operator == ">=")
    paths = sorted(STUBS.glob(stubs))
    assert paths
    for path in paths:
        found = re.search(pattern, path.read_text(encoding="utf-8"), re.MULTILINE)
        assert found, path
        assert floor >= Version(found[1]), path
