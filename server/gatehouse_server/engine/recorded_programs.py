"""A tick's arithmetic on a CPU as recordings: one call into torch each, without the interpreter's lock."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
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
from gatehouse_server.engine.row_counts import Places, places_of
from gatehouse_server.network.recording import NotRecordableError, record
from gatehouse_server.network.spec import TokenInputSpec

TILE_ROWS = 128
"""Rows that are computed at once: their gates and logits stay in a core's cache."""

_LARGEST_RECORDED_K = 5
"""More best entries are ranked without a recording: each one takes a while at load, and few ask for so many."""

_EXAMPLE_ROWS = 3
_PROOF_ROWS = (1, 2, 33, TILE_ROWS)

Call = Callable[..., Any]
T = TypeVar("T", bound=np.generic)


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
        places = self._places(len(sources))
        return float(self._step(*(_sent(array, places) for array in (inputs, sources, targets))))

    def read(self, rows: Ids, k: int, suppressed: Flags | None) -> Reading:
        """See `Programs`."""
        call = self._read.get((k, suppressed is not None))
        if call is None:
            return self._plain.read(rows, k, suppressed)
        places = self._places(len(rows))
        given = (rows,) if suppressed is None else (rows, suppressed)
        return _first(len(rows), reading_of(call(*(_sent(array, places) for array in given))))

    def step_and_read(
        self, inputs: Ids | Floats, sources: Ids, targets: Ids, k: int, suppressed: Flags | None
    ) -> tuple[float, Reading]:
        """See `Programs`."""
        call = self._both.get((k, suppressed is not None))
        if call is None:
            return self._plain.step_and_read(inputs, sources, targets, k, suppressed)
        places = self._places(len(sources))
        given = (inputs, sources, targets) if suppressed is None else (inputs, sources, targets, suppressed)
        total, *read = call(*(_sent(array, places) for array in given))
        return float(total), _first(len(sources), reading_of(read))

    def _places(self, rows: int) -> Places | None:
        """Where the rows to be computed come from. One that is computed twice has to give the same bits twice."""
        return places_of(rows) if self._arithmetic.network.reproducible else None

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
            outcome: list[object] = [math.isfinite(programs.step(inputs, sources, targets))]
            for k, leaves_out in self._read:
                flags = suppressed if leaves_out else None
                outcome += _bits(programs.read(targets, k, flags))
                total, reading = programs.step_and_read(inputs, sources, targets, k, flags)
                outcome += [math.isfinite(total), *_bits(reading)]
            outcome += [part[: TILE_ROWS + 1].numpy().tobytes() for part in table]
            outcomes.append(outcome)
        if outcomes[0] != outcomes[1]:
            raise NotRecordableError(f"a recording gives other bits for {rows} rows")


def _sent(array: npt.NDArray[T], places: Ids | None) -> Tensor:
    """An argument with the rows to be computed. One computed twice leaves its state twice, in the same place."""
    return torch.from_numpy(array if places is None else array[places])


def _first(rows: int, reading: Reading) -> Reading:
    """What was read of the first rows."""
    if len(reading.ids) == rows:
        return reading
    return Reading(
        values=reading.values[:rows],
        ids=reading.ids[:rows],
        normalizer=reading.normalizer[:rows],
        logits=reading.logits[:rows],
    )


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
