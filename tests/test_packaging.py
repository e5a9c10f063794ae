"""What an installation gets: requirements, commands, and every file that belongs into the wheel."""

import email
import email.message
import importlib.metadata
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SOURCES = {
    "gatehouse": ROOT / "client" / "gatehouse",
    "gatehouse_server": ROOT / "server" / "gatehouse_server",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """The wheel of the working tree, as `pip install .` builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> email.message.Message:
    """What the wheel says of itself."""
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(wheel.read(name))


def required(metadata: email.message.Message, extra: str) -> set[str]:
    """Names of what an installation with this extra (empty: none) requires directly."""
    requirements = map(Requirement, metadata.get_all("Requires-Dist") or [])
    return {
        canonicalize_name(each.name)
        for each in requirements
        if each.marker is None or each.marker.evaluate({"extra": extra})
    }


def names(lines: Iterable[str]) -> set[str]:
    """Names of the packages that these requirements ask for."""
    return {canonicalize_name(Requirement(line).name) for line in lines}


def test_without_extras_torch_is_not_required(metadata: email.message.Message) -> None:
    """`pip install .` brings the client: gRPC, protobuf and the terminal's packages."""
    light = required(metadata, "")
    assert light == names(PROJECT["dependencies"])
    assert not light & {"torch", "numpy", "tokenizers", "pydantic", "prometheus-client"}


def test_the_server_extra_brings_torch_and_no_development_tools(metadata: email.message.Message) -> None:
    """`pip install .[server]` is what the container installs."""
    server = required(metadata, "server")
    assert {"torch", "tokenizers", "safetensors"} <= server
    assert not server & {"pytest", "mypy", "ruff", "grpcio-tools", "matplotlib"}
    assert server <= required(metadata, "dev")


def test_extras_are_these() -> None:
    """No extra: client and command line. `server`: the service. `inspect`: what the command line draws with. `keras`
    and `onnx`: what models of those are converted with. `otel`: traces. `dev`: all that the checks need.
    """
    assert set(PROJECT["optional-dependencies"]) == {"server", "inspect", "keras", "onnx", "otel", "dev"}
    assert PROJECT["requires-python"] == ">=3.11"


@pytest.mark.parametrize(
    ("group", "name"),
    [("console_scripts", "gatehouse"), ("gatehouse.commands", "serve")],
)
def test_command_resolves(group: str, name: str) -> None:
    """What the entry point names can be imported and called."""
    (entry_point,) = importlib.metadata.distribution("gatehouse").entry_points.select(group=group, name=name)
    assert callable(entry_point.load())


def test_the_wheel_holds_every_file_of_both_packages(wheel: zipfile.ZipFile) -> None:
    """Stubs, models and markers included: a git-ignored file would be left out without a word."""
    expected = {
        f"{package}/{path.relative_to(folder).as_posix()}"
        for package, folder in SOURCES.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == expected
    assert {"gatehouse/py.typed", "gatehouse_server/py.typed", "gatehouse/v1/online_pb2.pyi"} <= packed


@pytest.mark.parametrize("model", ["dates", "keyboard", "topics"])
def test_the_wheel_serves(wheel: zipfile.ZipFile, model: str) -> None:
    """Each embedded model is in the wheel with everything it needs to load."""
    folder = f"gatehouse_server/embedded/{model}/1/"
    inside = {name.removeprefix(folder) for name in wheel.namelist() if name.startswith(folder)}
    assert {"config.json", "model.safetensors", "tokenizer.json", "card.md"} <= inside


def test_the_wheel_carries_licence_and_attribution(wheel: zipfile.ZipFile) -> None:
    """The licence's text, and whom the training data asks to be named."""
    texts = {Path(name).name: wheel.read(name).decode() for name in wheel.namelist() if "/licenses/" in name}
    assert "Apache License" in texts["LICENSE"]
    assert "tatoeba.org and www.manythings.org/anki" in texts["NOTICE"]


def test_constraints_pin_everything_that_is_installed() -> None:
    """Every package that ours needs, directly or not, stands there at the version the tests run with."""
    result = subprocess.run(
        [sys.executable, str(ROOT / ".ci" / "constraints.py")], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_constraints_are_exact_versions_and_nothing_else() -> None:
    """No address, no build suffix, no CUDA package: which build of torch is taken is the user's choice."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert [line for line in pins if not re.fullmatch(r"[a-z0-9-]+==(\d+!)?[A-Za-z0-9.]+", line)] == []
    assert [line for line in pins if line.startswith(("nvidia-", "cuda-", "triton"))] == []
