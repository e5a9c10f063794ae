"""A real server process with tiny models on free ports of the loopback interface, driven from outside."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from tests.tiny import (
    write_tiny_classifier,
    write_tiny_features,
    write_tiny_keyboard,
    write_tiny_transducer,
)

GATEHOUSE = Path(sys.executable).with_name("gatehouse")


@dataclass(frozen=True, kw_only=True)
class Served:
    """Where a server listens, and what it serves."""

    target: str
    admin: str
    http: str
    models: Path


def start(*options: str) -> tuple[subprocess.Popen[str], str, str]:
    """Starts a server on free ports; the process and its gRPC and HTTP addresses, once it serves."""
    process, serving = launch(*options)
    return process, serving["grpc"], serving["http"]


def launch(*options: str) -> tuple[subprocess.Popen[str], dict[str, str]]:
    """Starts a server on free ports; the process, and what its log says when it serves (`grpc`, `admin`, `http`)."""
    ports = ["--port", "0", "--admin-port", "0", "--http-port", "0"]
    process = subprocess.Popen(
        [str(GATEHOUSE), "serve", *ports, "--log-format", "json", *options],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith("{") and (event := json.loads(line))["event"] == "serving":
            return process, event
    raise AssertionError(f"the server ended before it served: {''.join(lines)}")


def stop(process: subprocess.Popen[str]) -> int:
    """Asks a server to leave; its exit code."""
    process.terminate()
    process.communicate(timeout=60)
    return process.returncode


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with small limits and a model of each kind, one of them broken."""
    models = tmp_path_factory.mktemp("served-models")
    write_tiny_keyboard(models / "keyboard" / "1")
    write_tiny_classifier(models / "topics" / "1")
    write_tiny_features(models / "motion" / "1")
    write_tiny_transducer(models / "short" / "1")
    write_tiny_features(models / "broken" / "1")
    (models / "broken" / "1" / "model.safetensors").write_bytes(b"not safetensors")
    process, serving = launch(
        *["--models", str(models), "--no-embedded-models", "--max-document-steps", "1000"],
    )
    yield Served(target=serving["grpc"], admin=serving["admin"], http=serving["http"], models=models)
    assert stop(process) == 0


@pytest.fixture(scope="session")
def channel(served: Served) -> Iterator[grpc.Channel]:
    """A channel to the server that takes and sends messages of any size."""
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(served.target, options=options) as channel:
        yield channel
