"""A tick's arithmetic on a GPU as graphs: one launch for all its operators, one copy there, one back, one wait.

A graph does what it did when it was captured, to the same memory, and with the same number of rows. So there is one
for each of a few numbers of rows, the buckets, and a tick takes the smallest that holds it. Rows that are left over
take a step from the initial state into a row of the table that belongs to nobody, and their answers are not looked at.

Where answers have to be reproducible there is a single bucket: every tick is computed with the same number of rows.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable
from functools import partial

import structlog
import torch
from torch import Tensor

from gatehouse_server.engine.graphs import Graphs
from gatehouse_server.engine.programs import Flags, Floats, Ids, Reading, TickArithmetic
from gatehouse_server.engine.rows import INITIAL_ROW
from gatehouse_server.engine.transfer import Field, Transfer
from gatehouse_server.network.kernel import TILE_ROWS_OF_GPU
from gatehouse_server.network.spec import TokenInputSpec

MOST_ROWS = 4096
"""No bucket is larger: larger ticks are cut into tiles."""

_log = structlog.get_logger(__name__)

Replay = Callable[[], None]


class GraphedPrograms:
    """The graphs of one model. The last row of the table has to belong to nobody. One thread at a time may run them."""

    def __init__(self, arithmetic: TickArithmetic, graphs: Graphs, *, most_rows: int) -> None:
        """`most_rows` is the largest tick that is expected."""
        self._arithmetic = arithmetic
        self._graphs = graphs
        self._buckets = buckets_of(most_rows, reproducible=arithmetic.network.arithmetic.reproducible)
        self.tile_rows = self._buckets[-1]
        # What rows are filled with that a tick leaves over, and arrays that a call has no use for.
        self._rest = {
            "inputs": 0,
            "sources": INITIAL_ROW,
            "targets": len(arithmetic.table[0]) - 1,
            "suppressed": False,
        }
        self._ks = arithmetic.k_buckets
        head = arithmetic.network.head
        device = arithmetic.network.device
        self._logits = torch.zeros(self.tile_rows, 0 if head is None else head.width, device=device)
        self._normalizer = torch.zeros(self.tile_rows, device=device)
        self._inputs = {bucket: self._input_transfer(bucket) for bucket in self._buckets}
        self._outputs = {
            (bucket, k): self._output_transfer(bucket, k) for bucket in self._buckets for k in {0, *self._ks}
        }
        self._step: dict[int, Replay] = {}
        self._read: dict[tuple[int, int], Replay] = {}
        self._both: dict[tuple[int, int], Replay] = {}
        with torch.inference_mode(), arithmetic.network.scratch_apart(self.tile_rows) as self._scratch:
            self._capture_all()

    def step(self, inputs: Ids | Floats, sources: Ids, targets: Ids) -> float:
        """See `Programs`."""
        bucket = self._bucket(len(sources))
        self._stage(bucket, inputs=inputs, sources=sources, targets=targets)
        return self._run(self._step[bucket], bucket, 0)

    def read(self, rows: Ids, k: int, suppressed: Flags | None) -> Reading:
        """See `Programs`. The host's arrays too are valid until the next call."""
        bucket = self._bucket(len(rows))
        self._stage(bucket, targets=rows, suppressed=suppressed)
        self._run(self._read[bucket, k], bucket, k)
        return self._reading(bucket, k, len(rows))

    def step_and_read(
        self, inputs: Ids | Floats, sources: Ids, targets: Ids, k: int, suppressed: Flags | None
    ) -> tuple[float, Reading]:
        """See `Programs`, and `read`."""
        bucket = self._bucket(len(sources))
        self._stage(bucket, inputs=inputs, sources=sources, targets=targets, suppressed=suppressed)
        total = self._run(self._both[bucket, k], bucket, k)
        return total, self._reading(bucket, k, len(sources))

    def _bucket(self, rows: int) -> int:
        assert 0 < rows <= self.tile_rows, "ticks are cut into tiles that the buckets hold"
        return self._buckets[bisect_left(self._buckets, rows)]

    def _stage(
        self,
        bucket: int,
        *,
        targets: Ids,
        inputs: Ids | Floats | None = None,
        sources: Ids | None = None,
        suppressed: Flags | None = None,
    ) -> None:
        """Puts a call's arrays where its graph finds them. Rows left over must not be those of an earlier call."""
        host, rows = self._inputs[bucket].host, len(targets)
        given = {"inputs": inputs, "sources": sources, "targets": targets, "suppressed": suppressed}
        for name, array in given.items():
            host[name][:rows] = self._rest[name] if array is None else array
            host[name][rows:] = self._rest[name]
        self._inputs[bucket].send()

    def _run(self, replay: Replay, bucket: int, k: int) -> float:
        replay()
        output = self._outputs[bucket, k]
        output.fetch()
        self._graphs.wait()
        return float(output.host["total"])

    def _reading(self, bucket: int, k: int, rows: int) -> Reading:
        host = self._outputs[bucket, k].host
        return Reading(
            values=host["values"][:rows],
            ids=host["ids"][:rows].astype("int64"),
            normalizer=self._normalizer[:rows],
            logits=self._logits[:rows],
        )

    def _capture_all(self) -> None:
        began = time.monotonic()
        count = len(self._buckets) * (1 + 2 * len(self._ks))
        _log.info("capturing graphs", graphs=count, buckets=list(self._buckets))
        for bucket in reversed(self._buckets):  # the largest first: the others find room in its memory
            for name, array in self._inputs[bucket].host.items():
                array[:] = self._rest[name]
            self._inputs[bucket].send()
            self._graphs.wait()
            self._step[bucket] = self._graphs.capture(partial(self._do_step, bucket))
            for k in self._ks:
                self._read[bucket, k] = self._graphs.capture(partial(self._do_read, bucket, k))
                self._both[bucket, k] = self._graphs.capture(partial(self._do_both, bucket, k))
        self._graphs.wait()
        _log.info("graphs captured", graphs=count, seconds=round(time.monotonic() - began, 3))

    def _do_step(self, bucket: int) -> None:
        device = self._inputs[bucket].device
        total = self._arithmetic.step(device["inputs"], device["sources"], device["targets"])
        self._outputs[bucket, 0].device["total"].copy_(total)

    def _do_read(self, bucket: int, k: int) -> None:
        device = self._inputs[bucket].device
        read = self._arithmetic.read(device["targets"], k, device["suppressed"])
        self._keep(bucket, k, *read)

    def _do_both(self, bucket: int, k: int) -> None:
        device = self._inputs[bucket].device
        total, *read = self._arithmetic.step_and_read(
            device["inputs"], device["sources"], device["targets"], k, device["suppressed"]
        )
        self._outputs[bucket, k].device["total"].copy_(total)
        self._keep(bucket, k, *read)

    def _keep(
        self, bucket: int, k: int, values: Tensor, ids: Tensor, normalizer: Tensor, logits: Tensor
    ) -> None:
        """Leaves the answers where they are fetched from; the logits where they may be looked at."""
        device = self._outputs[bucket, k].device
        device["values"].copy_(values)
        device["ids"].copy_(ids)
        self._normalizer[:bucket].copy_(normalizer)
        self._logits[:bucket].copy_(logits)

    def _input_transfer(self, bucket: int) -> Transfer:
        spec = self._arithmetic.network.spec.input
        if isinstance(spec, TokenInputSpec):
            inputs = Field(name="inputs", shape=(bucket,), dtype=torch.int64)
        else:
            inputs = Field(name="inputs", shape=(bucket, spec.size), dtype=torch.float32)
        rows = [Field(name=name, shape=(bucket,), dtype=torch.int64) for name in ("sources", "targets")]
        flags = Field(name="suppressed", shape=(bucket,), dtype=torch.bool)
        return self._transfer([inputs, *rows, flags])

    def _output_transfer(self, bucket: int, k: int) -> Transfer:
        return self._transfer(
            [
                Field(name="total", shape=(), dtype=torch.float32),
                Field(name="values", shape=(bucket, k), dtype=torch.float32),
                Field(name="ids", shape=(bucket, k), dtype=torch.int32),
            ]
        )

    def _transfer(self, fields: list[Field]) -> Transfer:
        return Transfer(fields, self._arithmetic.network.device, self._graphs.host_bytes)


def buckets_of(most_rows: int, *, reproducible: bool) -> tuple[int, ...]:
    """Numbers of rows that there are graphs for: powers of two, and the most."""
    if reproducible:
        return (TILE_ROWS_OF_GPU,)
    most = min(most_rows, MOST_ROWS)
    buckets = [1]
    while 2 * buckets[-1] < most:
        buckets.append(2 * buckets[-1])
    return tuple(sorted({*buckets, most}))
