"""Documents through a real server process, from a real client process."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.document_load import Documents
from benchmarks.document_mix import Mix
from benchmarks.load_process import LoadProcess, load_processes, run_together
from benchmarks.server_process import ServerProcess, running_gatehouse
from benchmarks.shapes import write_shape

SERVICE_IN_FLIGHT = 512


@dataclass
class Service:
    """A server and a client with one mix."""

    server: ServerProcess
    client: LoadProcess
    asked: Documents
    seconds: float
    rates: list[float] = field(default_factory=list)
    steps_per_second: list[float] = field(default_factory=list)
    server_cpu_us_per_step: list[float] = field(default_factory=list)
    client_cpu_us_per_step: list[float] = field(default_factory=list)

    def add(self) -> None:
        """A round."""
        (ran,), (server_cpu,) = run_together(
            [(self.client, self.asked, self.server.target)],
            self.seconds,
            [self.server.pid],
            warm_up_seconds=2.0,
        )
        steps_per_second = ran.told["steps"] / ran.told["seconds"]
        self.rates.append(ran.told["documents"] / ran.told["seconds"])
        self.steps_per_second.append(steps_per_second)
        steps = steps_per_second * self.seconds
        self.server_cpu_us_per_step.append(1e6 * server_cpu / steps)
        self.client_cpu_us_per_step.append(1e6 * ran.cpu_seconds / steps)


@contextmanager
def service_of(mix: Mix, seconds: float, device: str) -> Iterator[Service]:
    """The mix's model served, and a client process with its documents."""
    with tempfile.TemporaryDirectory() as scratch, load_processes(1) as (client,):
        if mix.model == "r3":
            write_shape(Path(scratch), "R3")
            serve = partial(running_gatehouse, Path(scratch))
        else:
            serve = partial(running_gatehouse, Path(scratch), "--embedded-models")
        file = Path(scratch) / "documents.json"
        file.write_text(json.dumps(mix.sent), encoding="utf-8")
        with serve("--device", device) as server:
            asked = Documents(model=mix.model, file=str(file), in_flight=SERVICE_IN_FLIGHT)
            yield Service(server=server, client=client, asked=asked, seconds=seconds)
