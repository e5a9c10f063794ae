"""What has to be written so that a store has a session as it is now: the states and the chunks that are new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from gatehouse_server.sessions.hosted_model import HostedModel
from gatehouse_server.sessions.hosting import Hosts
from gatehouse_server.sessions.record import (
    Head,
    States,
    chunk_name,
    chunk_part,
    decode_head,
    describe,
    encode_head,
    state_name,
    state_part,
    unpack,
)
from gatehouse_server.sessions.session import Session
from gatehouse_server.sessions.shelf import Packed
from gatehouse_server.sessions.stored import Stored
from gatehouse_server.sessions.tape import chunk_numbers, chunks
from gatehouse_server.stores.port import Change, Summary


@dataclass(slots=True, kw_only=True)
class Draft:
    """A change to be, and what it means for the books of the session once its fate is known.

    `numbers` are the states that the record has afterwards, `rows` those of them that still have to be read from the
    state table of `model`, `chunks` the numbers of all its chunks.
    """

    summary: Summary
    head: bytes
    stored: Stored
    numbers: set[int]
    chunks: tuple[int, int]
    parts: dict[str, bytes]
    existed: bool
    model: HostedModel | None = None
    rows: dict[int, int] = field(default_factory=dict)

    def change(self) -> Change:
        """The change, when all rows were read."""
        assert not self.rows, "rows are read before a change is made"
        stored = self.stored
        gone = (stored.states | stored.perhaps) - self.numbers
        dropped = [state_name(number) for number in gone]
        dropped += [
            chunk_name(number)
            for number in range(*stored.chunks)
            if not self.chunks[0] <= number < self.chunks[1]
        ]
        return Change(
            summary=self.summary,
            head=self.head,
            parts=self.parts,
            dropped=tuple(dropped),
            creates=not self.existed,
            follows=(stored.revision, *stored.attempted) if self.existed else None,
        )

    def is_of(self, outcome: Summary | None) -> bool:
        """Whether the store's answer is of this process's session: another may have taken it over, or made it anew."""
        ours = self.summary
        return outcome is not None and outcome.owner == ours.owner and outcome.incarnation == ours.incarnation

    def landed(self) -> None:
        """The store has it."""
        stored = self.stored
        stored.exists = True
        stored.revision = self.summary.revision
        stored.attempted = ()
        stored.states = self.numbers
        stored.perhaps = set()
        stored.clean_steps = stored.under_way_steps
        stored.chunks = self.chunks
        stored.expires_unix_seconds = self.summary.expires_unix_seconds
        stored.outlived = False

    def failed(self) -> None:
        """The store may have it or not."""
        stored = self.stored
        if self.summary.revision not in stored.attempted:
            stored.attempted += (self.summary.revision,)
        stored.perhaps |= stored.states | self.numbers
        stored.states &= self.numbers  # the others it may have let go of
        stored.clean_steps = max(0, stored.clean_steps - 1)  # the chunk that it is in may be longer now
        stored.under_way_steps = 0
        if stored.chunks == (0, 0):
            stored.chunks = self.chunks
        elif self.chunks != (0, 0):
            stored.chunks = (
                min(stored.chunks[0], self.chunks[0]),
                max(stored.chunks[1], self.chunks[1]),
            )

    def met_another_record(self) -> None:
        """The store went back to an earlier one: what it has is not known any more, and all is written anew."""
        stored = self.stored
        stored.exists = False
        stored.revision = 0
        stored.attempted = ()
        stored.perhaps |= stored.states | self.numbers
        stored.states = set()
        stored.clean_steps = stored.under_way_steps = 0


def draft_live(session: Session, summary: Summary, *, keeps_tape: bool) -> Draft:
    """What has to be written of a live session."""
    stored = session.stored
    assert stored is not None, "there is a store"
    head, states = describe(session, keeps_tape=keeps_tape)
    new: States = {number: state for number, state in states.items() if number not in stored.states}
    parts = {
        state_name(number): state_part(state) for number, state in new.items() if not isinstance(state, int)
    }
    if keeps_tape:
        tape = session.tape
        parts |= {
            chunk_name(number): chunk_part(content) for number, content in chunks(tape, stored.clean_steps)
        }
        stored.under_way_steps = tape.end
    return Draft(
        summary=summary,
        head=encode_head(head),
        stored=stored,
        numbers=set(states),
        chunks=_chunk_range(head, session.tape.chunk_steps) if keeps_tape else (0, 0),
        parts=parts,
        existed=stored.exists,
        model=session.model,
        rows={number: row for number, row in new.items() if isinstance(row, int)},
    )


def draft_packed(
    packed: Packed, *, owner: str, expires_unix_seconds: float, keeps_tape: bool, hosts: Hosts
) -> Draft:
    """What has to be written of a session out of the state table: simply all that the store may not have."""
    stored = packed.stored
    assert stored is not None, "it has something that the store does not have"
    head_bytes, parts = unpack(packed.content)
    head = decode_head(head_bytes)
    if not keeps_tape:
        head = without_tape(head)
        head_bytes = encode_head(head)
    chunk_steps = hosts.serving(head.model, head.fingerprint).tape_type.chunk_steps
    numbers = head.state_numbers
    kept = {state_name(number) for number in numbers - stored.states}
    span = chunk_numbers(head.begin, head.position, chunk_steps)
    kept |= {chunk_name(number) for number in span if (number + 1) * chunk_steps > stored.clean_steps}
    stored.under_way_steps = head.position
    return Draft(
        summary=_summary(head, owner, expires_unix_seconds),
        head=head_bytes,
        stored=stored,
        numbers=numbers,
        chunks=(span.start, span.stop),
        parts={name: part for name, part in parts.items() if name in kept},
        existed=stored.exists,
    )


def draft_new(head: Head, parts: Mapping[str, bytes], *, owner: str, expires_unix_seconds: float) -> Draft:
    """What has to be written of a session that is made: everything."""
    chunk_names = [int(name[1:]) for name in parts if name.startswith("i")]
    return Draft(
        summary=_summary(head, owner, expires_unix_seconds),
        head=encode_head(head),
        stored=Stored(under_way_steps=head.position),
        numbers=head.state_numbers,
        chunks=(min(chunk_names), max(chunk_names) + 1) if chunk_names else (0, 0),
        parts=dict(parts),
        existed=False,
    )


def without_tape(head: Head) -> Head:
    """The head of a record whose tape is not kept: what could be computed from the tape is lost with it."""
    return replace(
        head,
        begin=head.position,
        writes=tuple(write for write in head.writes if write[5] is not None),
        checkpoints=tuple(checkpoint for checkpoint in head.checkpoints if checkpoint[0] >= head.position),
    )


def read_rows(drafts: Sequence[Draft]) -> None:
    """Reads the states that drafts still need, with one look at each model's state table."""
    by_model: dict[HostedModel, list[Draft]] = {}
    for draft in drafts:
        if draft.rows and draft.model is not None:
            by_model.setdefault(draft.model, []).append(draft)
    for model, wanting in by_model.items():
        states = iter(model.engine.read_states([row for draft in wanting for row in draft.rows.values()]))
        for draft in wanting:
            for number in draft.rows:
                draft.parts[state_name(number)] = state_part(next(states))
            draft.rows = {}


def _chunk_range(head: Head, chunk_steps: int) -> tuple[int, int]:
    span = chunk_numbers(head.begin, head.position, chunk_steps)
    return span.start, span.stop


def _summary(head: Head, owner: str, expires_unix_seconds: float) -> Summary:
    return Summary(
        session_id=head.session_id,
        model=head.model,
        owner=owner,
        incarnation=head.incarnation,
        revision=head.revision,
        position=head.position,
        expires_unix_seconds=expires_unix_seconds,
        request_id=head.request_id,
    )
