"""What a session consumed: its tokens, all of them, or its last feature vectors."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

assert sys.byteorder == "little", "tapes are stored as they lie in memory"
assert array("i").itemsize == 4, "a token takes four bytes on a tape"

Inputs = npt.NDArray[np.int64] | npt.NDArray[np.float32]


class Tape(Protocol):
    """The inputs of the steps from position `begin` to `end`. Earlier ones are not known any more.

    For a store it comes in chunks: number c holds the steps from c * chunk_steps on, as far as they are known.
    """

    begin: int

    @property
    def end(self) -> int: ...

    @property
    def chunk_steps(self) -> int: ...

    @property
    def step_bytes(self) -> int: ...

    def put(self, at: int, inputs: Inputs) -> None:
        """Cuts the tape at a position and appends (T,) tokens or (T, N) features there.

        A tape that is cut before what is known of it begins there.
        """

    def inputs(self, begin: int, end: int) -> Inputs:
        """The steps between two positions as a model takes them."""

    def raw(self, begin: int, end: int) -> bytes:
        """The same in four bytes a value, little-endian."""

    def forget_before(self, position: int) -> None:
        """Lets go of whole chunks before a position."""

    def copy(self, end: int) -> Tape:
        """A tape of its own, up to `end`; an empty one there if nothing is known so far back."""


class TokenTape:
    """Token ids, four bytes each."""

    chunk_steps = 512
    step_bytes = 4

    __slots__ = ("begin", "tokens")

    def __init__(self, begin: int = 0, tokens: array[int] | None = None) -> None:
        self.begin = begin
        self.tokens: array[int] = array("i") if tokens is None else tokens

    @classmethod
    def of_raw(cls, begin: int, raw: bytes) -> TokenTape:
        """The tape that `raw` gave."""
        tokens = array("i")
        tokens.frombytes(raw)
        return cls(begin, tokens)

    @property
    def end(self) -> int:
        """The position after the last step."""
        return self.begin + len(self.tokens)

    def put(self, at: int, inputs: Inputs) -> None:
        """See `Tape`."""
        if at < self.begin:
            self.begin = at
        kept = at - self.begin
        if kept < len(self.tokens):
            del self.tokens[kept:]
        self.tokens.extend(inputs.tolist())

    def inputs(self, begin: int, end: int) -> Inputs:
        """See `Tape`."""
        return np.array(self.tokens[begin - self.begin : end - self.begin], dtype=np.int64)

    def raw(self, begin: int, end: int) -> bytes:
        """See `Tape`."""
        return self.tokens[begin - self.begin : end - self.begin].tobytes()

    def forget_before(self, position: int) -> None:
        """Tokens are kept."""

    def copy(self, end: int) -> TokenTape:
        """See `Tape`."""
        return TokenTape(min(self.begin, end), self.tokens[: max(0, end - self.begin)])


class FeatureTape:
    """The last feature vectors, N float32 values each. How far back is the session's affair."""

    chunk_steps = 16

    __slots__ = ("begin", "rows")

    def __init__(self, width: int, begin: int = 0, rows: npt.NDArray[np.float32] | None = None) -> None:
        self.begin = begin
        self.rows = np.empty((0, width), dtype=np.float32) if rows is None else rows

    @classmethod
    def of_raw(cls, width: int, begin: int, raw: bytes) -> FeatureTape:
        """The tape that `raw` gave."""
        return cls(width, begin, np.frombuffer(raw, dtype=np.float32).reshape(-1, width))

    @property
    def step_bytes(self) -> int:
        """Size of one vector."""
        return 4 * int(self.rows.shape[1])

    @property
    def end(self) -> int:
        """The position after the last step."""
        return self.begin + len(self.rows)

    def put(self, at: int, inputs: Inputs) -> None:
        """See `Tape`."""
        if at < self.begin:
            self.begin = at
        self.rows = np.concatenate((self.rows[: at - self.begin], inputs.astype(np.float32, copy=False)))

    def inputs(self, begin: int, end: int) -> Inputs:
        """See `Tape`."""
        return self.rows[begin - self.begin : end - self.begin]

    def raw(self, begin: int, end: int) -> bytes:
        """See `Tape`."""
        return self.rows[begin - self.begin : end - self.begin].tobytes()

    def forget_before(self, position: int) -> None:
        """See `Tape`."""
        begin = position - position % self.chunk_steps
        if begin > self.begin:
            self.rows = self.rows[begin - self.begin :].copy()
            self.begin = begin

    def copy(self, end: int) -> FeatureTape:
        """See `Tape`."""
        rows = self.rows[: max(0, end - self.begin)].copy()
        return FeatureTape(self.rows.shape[1], min(self.begin, end), rows)


def chunk_numbers(begin: int, end: int, chunk_steps: int) -> range:
    """The chunks that hold the steps between two positions."""
    return range(begin // chunk_steps, -(-end // chunk_steps)) if end > begin else range(0)


def chunks(tape: Tape, begin: int) -> Iterator[tuple[int, bytes]]:
    """Number and content of every chunk that has a step from position `begin` on."""
    for number in chunk_numbers(max(begin, tape.begin), tape.end, tape.chunk_steps):
        first = max(tape.begin, number * tape.chunk_steps)
        yield number, tape.raw(first, min(tape.end, (number + 1) * tape.chunk_steps))
