"""The servers that `benchmarks.online` compares, all of them up at the same time with the same model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from gatehouse_server.network.arithmetic import Precision

from benchmarks.server_process import ServerProcess, running_gatehouse, running_module

PLAIN_THREADS = (1, 2)
"""It may choose: which of them is quicker depends on the number of sessions."""

Kind = Literal["gatehouse", "plain", "echo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """How Gatehouse computes."""

    precision: Precision
    compute_threads: int

    @classmethod
    def parsed(cls, text: str) -> Variant:
        """`float32`, or `float32/2` with two compute threads. Raises ValueError for other texts."""
        name, _, threads = text.partition("/")
        precision = next((known for known in get_args(Precision) if known == name), None)
        if precision is None:
            raise ValueError(f"there is no precision {name!r}")
        return cls(precision=precision, compute_threads=int(threads or 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server under test. What does not apply to its kind is None."""

    kind: Kind
    process: ServerProcess
    model: str | None
    precision: Precision | None
    compute_threads: int | None

    @property
    def variant(self) -> Variant | None:
        """How Gatehouse computes; None of the others."""
        if self.kind != "gatehouse" or self.precision is None or self.compute_threads is None:
            return None
        return Variant(precision=self.precision, compute_threads=self.compute_threads)

    @property
    def facts(self) -> dict[str, str | int]:
        """How to tell it from the others."""
        facts = {"server": self.kind, "precision": self.precision, "compute_threads": self.compute_threads}
        return {name: value for name, value in facts.items() if value is not None}


@contextmanager
def servers_of(
    folder: Path,
    model: str,
    *,
    variants: Sequence[Variant],
    device: str,
    options: Sequence[str] = (),
) -> Iterator[list[Server]]:
    """Gatehouse in each variant, the plain server with each number of threads, and the echo."""
    plain_threads = PLAIN_THREADS if device == "cpu" else (1,)
    with ExitStack() as stack:
        servers = []
        for variant in variants:
            told = ["--precision", variant.precision, "--device", device, *options]
            if variant.compute_threads != 1:
                told += ["--threads", str(variant.compute_threads)]
            process = stack.enter_context(running_gatehouse(folder.parent.parent, *told))
            servers.append(_server("gatehouse", process, model, variant.precision, variant.compute_threads))
        for threads in plain_threads:
            arguments = ("--threads", str(threads), "--device", device, str(folder))
            process = stack.enter_context(running_module("benchmarks.plain_server", *arguments))
            servers.append(_server("plain", process, None, "float32", threads))
        process = stack.enter_context(running_module("benchmarks.echo_server"))
        servers.append(_server("echo", process, None, None, None))
        yield servers


def _server(
    kind: Kind,
    process: ServerProcess,
    model: str | None,
    precision: Precision | None,
    compute_threads: int | None,
) -> Server:
    return Server(
        kind=kind, process=process, model=model, precision=precision, compute_threads=compute_threads
    )
