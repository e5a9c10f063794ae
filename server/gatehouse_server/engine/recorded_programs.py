"""A tick's arithmetic on a CPU as recordings: one call into torch each, without the interpreter's lock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gatehouse_server.engine.programs import (
    Flags,
    Floats,
    Ids,
    PlainPrograms,
    Reading,
    TickArithmetic,
    reading_of,
)
from gatehouse_server.network.recording import NotRecordableError, record
from gatehouse_server.network.spec import TokenInputSpec

TILE_ROWS = 128
"""Rows that are computed at once: their gates and logits stay in a core's cache."""

_LARGEST_RECORDED_K = 5
"""More best entries are ranked without a recording: each one takes a while at load, and few ask for so many."""

_EXAMPLE_ROWS = 3
_PROOF_ROWS = (1, 2, 33, TILE_ROWS)

Call = Callable[..., Any]


class RecordedPrograms:
    """The recordings of one model, with scratch memory of their own: one thread at a time may run them.

    Raises NotRecordableError when torch cannot record them, or when a recording does not give the bits of what it
    recorded.
    """

    def __init__(self, arithmetic: TickArithmetic) -> None:
        self.tile_rows = TILE_ROWS
        self._arithmetic = arithmetic
        self._plain = PlainPrograms(arithmetic, tile_rows=TILE_ROWS)
        # By how many best entries they rank, and whether some may be left out.
        self._read: dict[tuple[int, bool], Call] = {}
        self._both: dict[tuple[int, bool], Call] = {}
        with torch.inference_mode(), _borrowed_rows(arithmetic.table) as states:
            with arithmetic.network.scratch_apart(TILE_ROWS):
                self._record()
            for rows in _PROOF_ROWS:
                self._prove(rows, states)

    def step(self, inputs: Ids | Floats, sources: Ids, targets: Ids) -> float:
        """See `Programs`."""
        total = self._step(torch.from_numpy(inputs), torch.from_numpy(sources), torch.from_numpy(targets))
        return float(total)

    def read(self, rows: Ids, k: int, suppressed: Flags | None) -> Reading:
        """See `Programs`."""
        call = self._read.get((k, suppressed is not None))
        if call is None:
            return self._plain.read(rows, k, suppressed)
        flags = () if suppressed is None else (torch.from_numpy(suppressed),)
        return reading_of(call(torch.from_numpy(rows), *flags))

    def step_and_read(
        self, inputs: Ids | Floats, sources: Ids, targets: Ids, k: int, suppressed: Flags | None
    ) -> tuple[float, Reading]:
        """See `Programs`."""
        call = self._both.get((k, suppressed is not None))
        if call is None:
            return self._plain.step_and_read(inputs, sources, targets, k, suppressed)
        flags = () if suppressed is None else (torch.from_numpy(suppressed),)
        total, *read = call(
            torch.from_numpy(inputs), torch.from_numpy(sources), torch.from_numpy(targets), *flags
        )
        return float(total), reading_of(read)

    def _record(self) -> None:
        arithmetic = self._arithmetic
        example = _example(arithmetic, _EXAMPLE_ROWS)
        targets, suppressed = example[2:]
        self._step = record(arithmetic.step, example[:3])
        for k in (bucket for bucket in arithmetic.k_buckets if bucket <= _LARGEST_RECORDED_K):
            self._read[k, False] = record(partial(arithmetic.read, k=k), [targets])
            self._both[k, False] = record(partial(arithmetic.step_and_read, k=k), example[:3])
            if k and arithmetic.suppresses:
                self._read[k, True] = record(
                    lambda rows, flags, k=k: arithmetic.read(rows, k, flags), [targets, suppressed]
                )
                self._both[k, True] = record(
                    lambda inputs, sources, targets, flags, k=k: arithmetic.step_and_read(
                        inputs, sources, targets, k, flags
                    ),
                    example,
                )

    def _prove(self, rows: int, states: Sequence[Tensor]) -> None:
        """Raises NotRecordableError unless the recordings give the same bits for so many rows, from given states."""
        table = self._arithmetic.table
        inputs, sources, targets, suppressed = (tensor.numpy() for tensor in _example(self._arithmetic, rows))
        outcomes = []
        for programs in (self._plain, self):
            for part, values in zip(table, states, strict=True):
                part[: len(values)] = values
            outcome: list[object] = [programs.step(inputs, sources, targets)]
            for k, leaves_out in self._read:
                flags = suppressed if leaves_out else None
                outcome += _bits(programs.read(targets, k, flags))
                total, reading = programs.step_and_read(inputs, sources, targets, k, flags)
                outcome += [total, *_bits(reading)]
            outcome += [part[: TILE_ROWS + 1].numpy().tobytes() for part in table]
            outcomes.append(outcome)
        if outcomes[0] != outcomes[1]:
            raise NotRecordableError(f"a recording gives other bits for {rows} rows")


@contextmanager
def _borrowed_rows(table: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Random states for the first rows of a table, which are as they were in the end."""
    kept = [part[: TILE_ROWS + 1].clone() for part in table]
    generator = torch.Generator().manual_seed(0)
    try:
        yield [torch.rand(part.shape, generator=generator) - 0.5 for part in kept]
    finally:
        for part, values in zip(table, kept, strict=True):
            part[: TILE_ROWS + 1] = values


def _bits(reading: Reading) -> Sequence[bytes]:
    return [
        reading.values.tobytes(),
        reading.ids.tobytes(),
        reading.normalizer.numpy().tobytes(),
        reading.logits.numpy().tobytes(),
    ]


def _example(arithmetic: TickArithmetic, rows: int) -> list[Tensor]:
    """Inputs, source rows, target rows and flags of a tick, drawn at random."""
    generator = np.random.default_rng(rows)
    spec = arithmetic.network.spec.input
    if isinstance(spec, TokenInputSpec):
        inputs = torch.from_numpy(generator.integers(0, spec.vocabulary_size, rows))
    else:
        inputs = torch.from_numpy(generator.standard_normal((rows, spec.size), dtype=np.float32))
    most = min(len(arithmetic.table[0]) - 1, TILE_ROWS)
    return [
        inputs,
        torch.from_numpy(generator.integers(0, most + 1, rows)),
        1 + torch.arange(rows) % most,
        torch.from_numpy(generator.random(rows) < 0.5),
    ]
