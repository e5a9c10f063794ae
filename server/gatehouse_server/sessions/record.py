"""A session as bytes: a head and named parts, the same in memory, in a store and on its way to another server.

The parts are states, `s<number>`, and chunks of the tape, `i<number>`; each begins with a checksum, and so does the
head. A state that can be computed from the tape and the checkpoints is not among them.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgpack

from gatehouse_server.errors import SessionDamaged
from gatehouse_server.sessions.hosted_model import HostedModel
from gatehouse_server.sessions.session import INITIAL_STATE, Session, State
from gatehouse_server.sessions.tape import Tape, chunks

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
        fields: list[Any] = msgpack.unpackb(content_of(content))
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


def content_of(checked: bytes) -> bytes:
    """The content of a part or a head. Raises SessionDamaged when it is not what was written."""
    content = checked[_CHECKSUM_BYTES:]
    if zlib.crc32(content) != int.from_bytes(checked[:_CHECKSUM_BYTES], "little"):
        raise SessionDamaged("a part of a session's record has changed since it was written")
    return content


def _checked(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(_CHECKSUM_BYTES, "little") + content
