"""A session as bytes: a head and named parts, the same in memory, in a store and on its way to another server.

The parts are states, `s<number>`, and chunks of the tape, `i<number>`; each begins with a checksum, and so does the
head. A state that can be computed from the tape and the checkpoints is not among them.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgpack
import numpy as np

from gatehouse_server.engine.rows import INITIAL_ROW
from gatehouse_server.errors import ModelNotLoaded, SessionDamaged
from gatehouse_server.sessions.hosted_model import HostedModel
from gatehouse_server.sessions.session import INITIAL_STATE, AcceptedWrite, Checkpoint, Session, State
from gatehouse_server.sessions.tape import FeatureTape, Tape, TokenTape, chunk_numbers, chunks

RECORD_FORMAT = 1

_CHECKSUM_BYTES = 4

_PLAIN_FIELDS = (
    "session_id",
    "model",
    "fingerprint",
    "incarnation",
    "revision",
    "position",
    "begin",
    "state_number",
    "next_number",
)

States = dict[int, int | State]
"""Where each numbered state is: a row of the state table, or the state itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A session without its states and its tape. `begin` is the position from which the tape is known.

    A write is (revision, digest, at, position, on tape, number of the state before it or None when that is computed), a
    checkpoint (position, number of its state).
    """

    session_id: str
    model: str
    fingerprint: str
    incarnation: int
    revision: int
    position: int
    begin: int
    state_number: int
    next_number: int
    writes: tuple[tuple[int, bytes, int, int, bool, int | None], ...]
    checkpoints: tuple[tuple[int, int], ...]
    refused: bool
    request_id: str | None

    @property
    def state_numbers(self) -> set[int]:
        """The states that belong to it."""
        numbers = {self.state_number, *(number for _, number in self.checkpoints)}
        numbers.update(write[5] for write in self.writes if write[5] is not None)
        numbers.discard(INITIAL_STATE)
        return numbers


def describe(session: Session, *, keeps_tape: bool = True) -> tuple[Head, States]:
    """A session's head, and where its states are."""
    position = session.position
    begin = session.tape.begin if keeps_tape else position
    kept = [checkpoint for checkpoint in session.checkpoints if checkpoint.position >= begin]
    # From here on any state can be computed from what the record has.
    restorable = 0 if begin == 0 else min((checkpoint.position for checkpoint in kept), default=position)
    states: States = {session.state_number: session.row}
    writes = []
    for write in session.recent:
        if write.digest is None:
            continue  # it cannot be repeated: it was kept only because going back to it was cheap
        number = None if write.on_tape and write.at >= restorable else write.number
        if number is not None:
            if write.row is None:
                continue
            states[number] = write.row
        writes.append((write.revision, write.digest, write.at, write.position, write.on_tape, number))
    for checkpoint in kept:
        states[checkpoint.number] = checkpoint.state
    states.pop(INITIAL_STATE, None)
    head = Head(
        session_id=session.session_id,
        model=session.model.key,
        fingerprint=session.model.fingerprint,
        incarnation=session.incarnation,
        revision=session.revision,
        position=position,
        begin=begin,
        state_number=session.state_number,
        next_number=session.next_number,
        writes=tuple(writes),
        checkpoints=tuple((checkpoint.position, checkpoint.number) for checkpoint in kept),
        refused=session.refused,
        request_id=session.request_id,
    )
    return head, states


def encode_head(head: Head) -> bytes:
    """The head as bytes."""
    return _checked(
        msgpack.packb(
            (
                RECORD_FORMAT,
                *(getattr(head, name) for name in _PLAIN_FIELDS),
                head.writes,
                head.checkpoints,
                head.refused,
                head.request_id,
            )
        )
    )


def decode_head(content: bytes) -> Head:
    """The head that `encode_head` gave. Raises SessionDamaged."""
    try:
        fields: list[Any] = msgpack.unpackb(_content(content))
        version, *rest = fields
        if version != RECORD_FORMAT:
            raise SessionDamaged(
                f"the session was written in format {version}, and this server reads {RECORD_FORMAT}"
            )
        *names, writes, checkpoints, refused, request_id = rest
        return Head(
            **dict(zip(_PLAIN_FIELDS, names, strict=True)),
            writes=tuple(tuple(write) for write in writes),
            checkpoints=tuple((position, number) for position, number in checkpoints),
            refused=refused,
            request_id=request_id,
        )
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise SessionDamaged(f"the record of a session cannot be read: {error}") from error


def state_part(state: State) -> bytes:
    """A state as a part."""
    return _checked(state.tobytes())


def state_name(number: int) -> str:
    """The name of a state's part."""
    return f"s{number}"


def chunk_part(content: bytes) -> bytes:
    """A chunk of a tape as a part."""
    return _checked(content)


def chunk_name(number: int) -> str:
    """The name of a chunk's part."""
    return f"i{number}"


def parts_of(model: HostedModel, states: States, tape: Tape) -> dict[str, bytes]:
    """All parts of a record: states read from the state table where they are there, and the whole tape."""
    in_table = {number: row for number, row in states.items() if isinstance(row, int)}
    values = model.engine.read_states(list(in_table.values())) if in_table else ()
    parts = {state_name(number): state_part(value) for number, value in zip(in_table, values, strict=True)}
    parts |= {
        state_name(number): state_part(state)
        for number, state in states.items()
        if not isinstance(state, int)
    }
    parts |= {chunk_name(number): chunk_part(content) for number, content in chunks(tape, tape.begin)}
    return parts


def pack(head: bytes, parts: Mapping[str, bytes]) -> bytes:
    """A whole record in one piece."""
    packed: bytes = msgpack.packb((head, dict(parts)))
    return packed


def unpack(packed: bytes) -> tuple[bytes, dict[str, bytes]]:
    """What `pack` was given. Raises SessionDamaged."""
    try:
        head, parts = msgpack.unpackb(packed, max_map_len=len(packed))
        if not isinstance(head, bytes) or not all(
            isinstance(name, str) and isinstance(part, bytes) for name, part in parts.items()
        ):
            raise ValueError("it is no record")
    except (ValueError, TypeError, AttributeError, msgpack.UnpackException) as error:
        raise SessionDamaged(f"the record of a session cannot be read: {error}") from error
    return head, parts


def check_model(head: Head, model: HostedModel) -> None:
    """Raises ModelNotLoaded when the record is of another content of the model."""
    if head.fingerprint != model.fingerprint:
        raise ModelNotLoaded(
            f"session {head.session_id!r} runs on {head.model} with fingerprint {head.fingerprint[:12]}, and this "
            f"server has one with {model.fingerprint[:12]}. The session is kept; serve that model again",
            metadata={"model": head.model, "fingerprint": head.fingerprint},
        )


def revive(
    head: Head, parts: Mapping[str, bytes], model: HostedModel, *, session_id: str, expires_seconds: float
) -> Session:
    """The session of a record, in the state table. Raises SessionDamaged, ModelNotLoaded."""
    check_model(head, model)
    oldest = head.revision - model.limits.recent_writes
    head = replace(head, writes=tuple(write for write in head.writes if write[0] > oldest))
    tape = read_tape(head, parts, model)
    numbers = sorted(head.state_numbers - {number for _, number in head.checkpoints})
    loaded = [_read_state(parts, number, model) for number in numbers]
    checkpoints = [
        Checkpoint(position=position, number=number, state=_read_state(parts, number, model))
        for position, number in head.checkpoints
    ]
    rows = {INITIAL_STATE: INITIAL_ROW} | {number: model.rows.take() for number in numbers}
    if numbers:
        model.engine.write_states([rows[number] for number in numbers], np.stack(loaded))
    session = Session(
        session_id=session_id,
        model=model,
        incarnation=head.incarnation,
        expires_seconds=expires_seconds,
        tape=tape,
        request_id=head.request_id,
        revision=head.revision,
        row=rows[head.state_number],
        state_number=head.state_number,
        next_number=head.next_number,
        checkpoints=checkpoints,
        refused=head.refused,
    )
    session.recent = deque(_accepted(head.writes, rows, session))
    return session


def read_tape(head: Head, parts: Mapping[str, bytes], model: HostedModel) -> Tape:
    """The tape of a record. Raises SessionDamaged when it is not whole."""
    chunk_steps = model.tape_type.chunk_steps
    try:
        raw = b"".join(
            _content(parts[chunk_name(number)])
            for number in chunk_numbers(head.begin, head.position, chunk_steps)
        )
        tape: Tape = (
            TokenTape.of_raw(head.begin, raw)
            if model.keeps_tokens
            else FeatureTape.of_raw(model.width, head.begin, raw)
        )
    except (KeyError, ValueError) as error:
        raise SessionDamaged(f"the tape of session {head.session_id!r} is not whole: {error}") from error
    if tape.end != head.position:
        raise SessionDamaged(
            f"the tape of session {head.session_id!r} ends at {tape.end}, not at {head.position}"
        )
    return tape


def _accepted(
    writes: Iterable[tuple[int, bytes, int, int, bool, int | None]], rows: dict[int, int], session: Session
) -> Iterable[AcceptedWrite]:
    holds = {session.row}
    for revision, digest, at, position, on_tape, number in writes:
        row = None if number is None else rows[number]
        if row is not None:
            if row in holds:
                session.model.rows.share(row)
            holds.add(row)
        yield AcceptedWrite(
            revision=revision,
            digest=digest,
            at=at,
            position=position,
            number=session.new_number() if number is None else number,
            row=row,
            on_tape=on_tape,
        )


def _read_state(parts: Mapping[str, bytes], number: int, model: HostedModel) -> State:
    content = parts.get(state_name(number))
    if content is None:
        raise SessionDamaged(f"state {number} of a session is missing")
    state = np.frombuffer(
        _content(content), dtype=np.float32
    ).copy()  # torch wants arrays that can be written to
    if len(state) * 4 != model.engine.bytes_per_row:
        raise SessionDamaged(
            f"a state has {len(state) * 4} bytes, and {model.key} has {model.engine.bytes_per_row}"
        )
    return state


def _checked(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(_CHECKSUM_BYTES, "little") + content


def _content(checked: bytes) -> bytes:
    content = checked[_CHECKSUM_BYTES:]
    if zlib.crc32(content) != int.from_bytes(checked[:_CHECKSUM_BYTES], "little"):
        raise SessionDamaged("a part of a session's record has changed since it was written")
    return content
