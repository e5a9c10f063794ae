"""Sessions to measure with: ones that write, and ones with a tape of any length that nobody had to write.

A long tape comes in by import: its tokens are random, and its kept states are copies of a real one. What an operation
costs does not depend on their values.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from gatehouse_server.models.folder import load_folder
from gatehouse_server.models.model import LoadedModel
from gatehouse_server.models.registry import EMBEDDED, Registry
from gatehouse_server.sessions.hosted_model import TOKEN_CHECKPOINT_STEPS
from gatehouse_server.sessions.operations import CreateSession, DeleteSession, ExportSession, ImportSession
from gatehouse_server.sessions.record import (
    chunk_name,
    chunk_part,
    decode_head,
    encode_head,
    pack,
    state_name,
    unpack,
)
from gatehouse_server.sessions.results import (
    SessionDeleted,
    SessionExport,
    SessionState,
    SessionView,
    WriteResult,
)
from gatehouse_server.sessions.sealing import Sealer
from gatehouse_server.sessions.tape import TokenTape

from benchmarks.hand import EXPORT_KEY, Hand, append
from benchmarks.shapes import write_shape

VOCABULARY = 10_000
TAPE_STEPS = 50
RECENT_WRITES = 8

_SHAPES = ("R1", "R2")


@contextmanager
def model_folder(name: str) -> Iterator[Path]:
    """The folder of `keyboard`, which comes with the package, or of a reference shape with random weights."""
    if name not in _SHAPES:
        yield EMBEDDED / name / "1"
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield write_shape(Path(scratch), name)


def registry_of(folder: Path) -> Registry:
    """That model alone, on the CPU."""
    model: LoadedModel = load_folder(folder, "cpu")
    return Registry([model])


def random_tokens(steps: int) -> list[int]:
    """Tokens of either vocabulary."""
    return [random.randrange(2, VOCABULARY) for _ in range(steps)]


@dataclass
class Writer:
    """A session and where its client knows it to stand."""

    hand: Hand
    session_id: str
    state: SessionState

    @classmethod
    def of(cls, hand: Hand, view: SessionView) -> Writer:
        """The session that was made."""
        return cls(hand, view.session_id, view.state)

    def write(self, tokens: Sequence[int], *, back: int = 0) -> None:
        """Writes at so many steps before the end, and asks for the best tokens there."""
        at = self.state.position - back
        write = append(self.session_id, self.state, tokens, at)
        self.state = self.hand.one(write, WriteResult).state

    def write_singly(self, count: int) -> None:
        """So many writes of a token each."""
        for token in random_tokens(count):
            self.write([token])

    def delete(self) -> None:
        """Ends the session."""
        self.hand.one(DeleteSession(session_id=self.session_id), SessionDeleted)


def new_writer(hand: Hand, model: str) -> Writer:
    """A session of `TAPE_STEPS` tokens, the last of them written one by one."""
    writer = Writer.of(hand, hand.one(CreateSession(model=model), SessionView))
    writer.write(random_tokens(TAPE_STEPS - RECENT_WRITES))
    writer.write_singly(RECENT_WRITES)
    return writer


def exported(hand: Hand, writer: Writer) -> bytes:
    """The session as bytes."""
    return hand.one(ExportSession(session_id=writer.session_id), SessionExport).blob


def imported(hand: Hand, blob: bytes, count: int) -> list[Writer]:
    """So many sessions from one export, made together."""
    views = hand.all([ImportSession(blob=blob)] * count, SessionView)
    return [Writer.of(hand, view) for view in views]


def lengthened(blob: bytes, steps: int) -> bytes:
    """An export like the given one, with a tape of so many random tokens and the states that a server keeps of it."""
    sealer = Sealer(EXPORT_KEY)
    head_bytes, parts = unpack(sealer.open(blob))
    head = decode_head(head_bytes)
    state = parts[state_name(head.state_number)]
    checkpoints = tuple(
        (position, number)
        for number, position in enumerate(range(TOKEN_CHECKPOINT_STEPS, steps + 1, TOKEN_CHECKPOINT_STEPS), 1)
    )
    last = len(checkpoints) + 1
    head = replace(
        head,
        position=steps,
        begin=0,
        state_number=last if steps else 0,
        next_number=last + 1,
        writes=(),
        checkpoints=checkpoints,
    )
    tokens = np.random.default_rng(steps).integers(2, VOCABULARY, steps, dtype=np.int32)
    parts = {state_name(number): state for number in head.state_numbers}
    size = TokenTape.chunk_steps
    for number, first in enumerate(range(0, steps, size)):
        parts[chunk_name(number)] = chunk_part(tokens[first : first + size].tobytes())
    return sealer.seal(pack(encode_head(head), parts))
