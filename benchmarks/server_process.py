"""Server processes to measure: how to start them, and what they take of the processor and of memory."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import grpc

_READY_SECONDS = 120
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerProcess:
    """A server that answers. `http_target` is where it tells its metrics, if it does."""

    pid: int
    target: str
    http_target: str | None = None


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far, all its threads, in user and kernel mode."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND


def peak_resident_bytes(pid: int) -> int:
    """The most memory that a process held since it began, or since `forget_peak`."""
    return _status_bytes(pid, "VmHWM")


def resident_bytes_of(pid: int) -> int:
    """What a process holds of the machine's memory."""
    return _status_bytes(pid, "VmRSS")


def forget_peak(pid: int) -> None:
    """Makes the peak what the process holds now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: Sequence[str], target: str) -> Iterator[ServerProcess]:
    """A server process that is reachable, stopped at the end. Raises RuntimeError with what it said if it ends."""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        try:
            with grpc.insecure_channel(target) as channel:
                ready = grpc.channel_ready_future(channel)
                for _ in range(_READY_SECONDS):
                    try:
                        ready.result(timeout=1.0)
                        break
                    except grpc.FutureTimeoutError:
                        if process.poll() is not None:
                            said.seek(0)
                            raise RuntimeError(f"{' '.join(command)} ended: {said.read()[-2000:]}") from None
            yield ServerProcess(pid=process.pid, target=target)
        finally:
            process.terminate()
            process.wait(timeout=30)


@contextmanager
def running_gatehouse(models: Path, *options: str) -> Iterator[ServerProcess]:
    """Gatehouse with these models only."""
    port, http_port = free_port(), free_port()
    command = gatehouse_command(models, port, "--http-port", str(http_port), *options)
    with running(command, f"127.0.0.1:{port}") as process:
        yield replace(process, http_target=f"127.0.0.1:{http_port}")


@contextmanager
def running_module(module: str, *arguments: str) -> Iterator[ServerProcess]:
    """A server of this folder, whose last argument is its port."""
    port = free_port()
    command = [sys.executable, "-m", module, *arguments, str(port)]
    with running(command, f"127.0.0.1:{port}") as process:
        yield process


def gatehouse_command(models: Path, port: int, *options: str) -> list[str]:
    """How to start Gatehouse with these models only."""
    ports = ["--port", str(port), "--admin-port", str(free_port())]
    if "--http-port" not in options:
        ports += ["--http-port", str(free_port())]
    program = str(Path(sys.executable).with_name("gatehouse"))
    return [program, "serve", *ports, "--models", str(models), "--no-embedded-models", *options]


def _status_bytes(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"process {pid} has no {name}")
