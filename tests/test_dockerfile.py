"""The Dockerfile, checked without an engine: every path, command, setting and port in it exists."""

import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tomllib
import zipfile
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

ROOT = Path(__file__).parent.parent
OF_THE_BASE_IMAGE = {"python"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One instruction: its stage's name, its keyword and the rest of its line, continuations joined."""

    stage: str
    keyword: str
    rest: str


def instructions() -> list[Instruction]:
    """The Dockerfile, read."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    found: list[Instruction] = []
    stage = ""
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if not line.strip():
            continue
        keyword, _, rest = line.strip().partition(" ")
        if keyword == "FROM":
            stage = rest.split(" AS ")[1]
        found.append(Instruction(stage=stage, keyword=keyword, rest=" ".join(rest.split())))
    return found


def of(keyword: str, stage: str | None = None) -> list[Instruction]:
    """All instructions of one kind, of one stage if it is given."""
    return [each for each in instructions() if each.keyword == keyword and stage in (None, each.stage)]


def copied_sources() -> list[str]:
    """What is copied from the working tree."""
    return [
        source
        for each in of("COPY")
        if not each.rest.startswith("--from=")
        for source in each.rest.split()[:-1]
    ]


def environment(stage: str) -> dict[str, str]:
    """The environment variables that a stage sets."""
    return dict(pair.split("=", 1) for each in of("ENV", stage) for pair in shlex.split(each.rest))


def test_two_stages_on_a_base_that_can_be_chosen() -> None:
    """BASE and TORCH_INDEX choose between CPU and GPU; the last stage is another than the one that builds."""
    assert [each.rest for each in of("FROM")] == ["${BASE} AS build", "${BASE} AS serve"]
    assert [each.rest.partition("=")[0] for each in of("ARG")] == ["BASE", "TORCH_INDEX"]


def test_every_copied_path_exists_and_is_not_ignored() -> None:
    """Each source of a COPY is in the tree, and .dockerignore lets it through."""
    ignored, *let_through = [
        line
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith(("#", "**/"))
    ]
    assert ignored == "*"
    for source in copied_sources():
        assert (ROOT / source).exists(), source
        assert f"!{source}" in let_through, source


def test_what_is_copied_is_enough_to_build(tmp_path: Path) -> None:
    """From the copied files alone, the wheel can be built, and carries licence and attribution."""
    for source in copied_sources():
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, tmp_path / source, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, tmp_path / source)
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    (path,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        assert {"LICENSE", "NOTICE"} <= {Path(name).name for name in wheel.namelist()}


def test_only_the_server_is_installed_at_pinned_versions() -> None:
    """Neither development tools nor unpinned versions get into the image."""
    (run,) = of("RUN", "build")
    assert "'.[server,otel]'" in run.rest
    assert "[dev]" not in run.rest
    assert run.rest.count("--constraint constraints.txt") == run.rest.count(" pip install ")
    assert '${TORCH_INDEX:+--extra-index-url "${TORCH_INDEX}"}' in run.rest


def test_every_command_exists() -> None:
    """What RUN calls is the base image's Python or that of the environment it has just made."""
    (run,) = of("RUN", "build")
    environments = re.findall(r"python -m venv (\S+)", run.rest)
    commands = {part.split()[0] for part in run.rest.split(" && ")}
    assert commands <= OF_THE_BASE_IMAGE | {f"{folder}/bin/python" for folder in environments}
    (copy,) = (each for each in of("COPY") if each.rest.startswith("--from="))
    origin, source, destination = copy.rest.removeprefix("--from=").split()
    assert (origin, source, destination) == ("build", environments[0], environments[0])
    assert environment("serve")["PATH"].startswith(f"{destination}/bin:")


def test_the_entry_point_is_our_command_in_exec_form() -> None:
    """SIGTERM reaches the server, not a shell; the command and its `serve` are installed entry points."""
    (entry_point,) = of("ENTRYPOINT", "serve")
    command, subcommand = json.loads(entry_point.rest)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert command in project["scripts"]
    assert subcommand in project["entry-points"]["gatehouse.commands"]
    assert not of("CMD")


def test_the_user_is_a_number_and_not_root() -> None:
    """A number, so that Kubernetes can see that it is not root (runAsNonRoot)."""
    (user,) = of("USER", "serve")
    uid, gid = user.rest.split(":")
    assert int(uid) > 0
    assert int(gid) > 0
    keywords = [each.keyword for each in instructions() if each.stage == "serve"]
    assert keywords.index("USER") < keywords.index("ENTRYPOINT")


def test_the_user_owns_the_folder_for_a_volume() -> None:
    """A volume that Docker makes takes the owner of the folder that it is mounted on; SQLite writes there."""
    (run,) = of("RUN", "serve")
    words = shlex.split(run.rest)
    (user,) = of("USER", "serve")
    assert (words[0], words[-1]) == ("install", "/data")
    assert f"{words[words.index('--owner') + 1]}:{words[words.index('--group') + 1]}" == user.rest


@pytest.fixture
def health_check() -> list[str]:
    """The command of the health check, in exec form."""
    (check,) = of("HEALTHCHECK", "serve")
    arguments: list[str] = json.loads(check.rest.partition(" CMD ")[2])
    return arguments


def check_health(command: list[str], port: int) -> subprocess.CompletedProcess[str]:
    """Run the health check against another port than the container's."""
    arguments = [each.replace(":50051", f":{port}") for each in command[1:]]
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (health_pb2.HealthCheckResponse.SERVING, 0),
        (health_pb2.HealthCheckResponse.NOT_SERVING, 1),
    ],
)
def test_the_health_check_tells_what_grpc_health_says(
    health_check: list[str], status: int, expected: int
) -> None:
    """Exit status 0 while the server says SERVING, 1 when it says anything else."""
    with futures.ThreadPoolExecutor(max_workers=1) as pool:
        server = grpc.server(pool, options=[("grpc.so_reuseport", 0)])
        servicer = health.HealthServicer()
        servicer.set("", status)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        result = check_health(health_check, port)
        server.stop(grace=None).wait()
    assert result.returncode == expected, result.stderr


def test_the_health_check_fails_where_nothing_listens(health_check: list[str]) -> None:
    """Exit status 1, and one line instead of a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    result = check_health(health_check, port)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1, result.stderr


def test_the_health_check_is_light(health_check: list[str]) -> None:
    """It runs every few seconds beside the server, so it loads no torch."""
    script = f"import {health_check[2]}, sys; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    loaded = result.stdout.split()
    assert "grpc" in loaded
    assert "torch" not in loaded


def test_settings_and_ports_are_the_servers(health_check: list[str]) -> None:
    """Each GATEHOUSE_ variable is a setting, and the ports are those that the settings default to."""
    from gatehouse_server.settings import Settings

    fields = Settings.model_fields
    named = {name for name in environment("serve") if name.startswith("GATEHOUSE_")}
    assert named == {"GATEHOUSE_HOST", "GATEHOUSE_HTTP_HOST"}
    assert {name.removeprefix("GATEHOUSE_").lower() for name in named} <= set(fields)
    # Every address: pods of a cluster may have some of IPv6 alone. To gRPC 0.0.0.0 means those as well.
    assert {environment("serve")[name] for name in named} == {"0.0.0.0", "::"}
    (expose,) = of("EXPOSE", "serve")
    assert expose.rest.split() == [str(fields["port"].default), str(fields["http_port"].default)]
    assert health_check[health_check.index("--target") + 1] == f"127.0.0.1:{fields['port'].default}"
