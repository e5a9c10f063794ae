"""A session from its record: back in the state table, with its tape and the states of its last writes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from gatehouse_server.engine.rows import INITIAL_ROW
from gatehouse_server.errors import ModelNotLoaded, SessionDamaged
from gatehouse_server.sessions.hosted_model import HostedModel
from gatehouse_server.sessions.record import Head, chunk_name, content_of, state_name
from gatehouse_server.sessions.session import INITIAL_STATE, AcceptedWrite, Checkpoint, Session, State
from gatehouse_server.sessions.tape import FeatureTape, Tape, TokenTape, chunk_numbers


def revive(
    head: Head, parts: Mapping[str, bytes], model: HostedModel, *, session_id: str, expires_seconds: float
) -> Session:
    """The session of a record, in the state table. Raises SessionDamaged, ModelNotLoaded."""
    check_model(head, model)
    oldest = head.revision - model.limits.recent_writes
    head = replace(head, writes=tuple(write for write in head.writes if write[0] > oldest))
    tape = _read_tape(head, parts, model)
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


def check_model(head: Head, model: HostedModel) -> None:
    """Raises ModelNotLoaded when the record is of another content of the model."""
    if head.fingerprint != model.fingerprint:
        raise ModelNotLoaded(
            f"session {head.session_id!r} runs on {head.model} with fingerprint {head.fingerprint[:12]}, and this "
            f"server has one with {model.fingerprint[:12]}. The session is kept; serve that model again",
            metadata={"model": head.model, "fingerprint": head.fingerprint},
        )


def _read_tape(head: Head, parts: Mapping[str, bytes], model: HostedModel) -> Tape:
    """The tape of a record. Raises SessionDamaged when it is not whole."""
    chunk_steps = model.tape_type.chunk_steps
    try:
        raw = b"".join(
            content_of(parts[chunk_name(number)])
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
    # A copy: torch wants arrays that can be written to.
    state = np.frombuffer(content_of(content), dtype=np.float32).copy()
    if len(state) * 4 != model.engine.bytes_per_row:
        raise SessionDamaged(
            f"a state has {len(state) * 4} bytes, and {model.key} has {model.engine.bytes_per_row}"
        )
    return state
