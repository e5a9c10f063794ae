"""Where a session stands, whatever it is told from: the live one, its packed head, the store's summary."""

from __future__ import annotations

from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.record import Head
from gatehouse_server.sessions.results import Durability, SessionLine, SessionState, SessionView, Tier
from gatehouse_server.sessions.session import Session
from gatehouse_server.sessions.shelf import Packed
from gatehouse_server.stores.port import Summary


def state_of(session: Session, *, expires_in_seconds: float) -> SessionState:
    """Where a live session stands now."""
    return SessionState(
        session.incarnation,
        session.revision,
        session.tape.end,
        session.oldest_restorable_position,
        session.durable_revision,
        expires_in_seconds,
    )


def state_of_head(head: Head, *, durable_revision: int, expires_in_seconds: float) -> SessionState:
    """Where a packed session stands."""
    kept = [position for position, _ in head.checkpoints if position >= head.begin]
    return SessionState(
        incarnation=head.incarnation,
        revision=head.revision,
        position=head.position,
        oldest_restorable_position=0 if head.begin == 0 else min(kept, default=head.position),
        durable_revision=durable_revision,
        expires_in_seconds=expires_in_seconds,
    )


def state_of_packed(packed: Packed, head: Head, *, keeps: bool, expires_in_seconds: float) -> SessionState:
    """Where a session stands that is packed in memory, with its head; `keeps` tells whether there is a store."""
    if not keeps:
        durable_revision = 0
    elif packed.unsaved:
        assert packed.stored is not None, "its books are kept while something is not stored"
        durable_revision = packed.stored.revision
    else:
        durable_revision = head.revision
    return state_of_head(head, durable_revision=durable_revision, expires_in_seconds=expires_in_seconds)


def state_of_summary(summary: Summary, *, now_unix_seconds: float) -> SessionState:
    """Where a session of the store stands. How far back it can go is not told: only its position is sure."""
    return SessionState(
        incarnation=summary.incarnation,
        revision=summary.revision,
        position=summary.position,
        oldest_restorable_position=summary.position,
        durable_revision=summary.revision,
        expires_in_seconds=max(0.0, summary.expires_unix_seconds - now_unix_seconds),
    )


def view(
    session_id: str, model: str, state: SessionState, limits: SessionLimits, durability: Durability
) -> SessionView:
    """A session with its limits."""
    return SessionView(
        session_id=session_id,
        model=model,
        state=state,
        max_unanswered_writes=limits.recent_writes,
        max_write_steps=limits.max_write_steps,
        max_tape_steps=limits.max_tape_steps,
        durability=durability,
    )


def line(
    session_id: str, model: str, state: SessionState, tier: Tier, size_bytes: int, fingerprint: str = ""
) -> SessionLine:
    """A session as operators see it."""
    return SessionLine(
        session_id=session_id,
        model=model,
        tier=tier,
        incarnation=state.incarnation,
        revision=state.revision,
        position=state.position,
        durable_revision=state.durable_revision,
        expires_in_seconds=state.expires_in_seconds,
        size_bytes=size_bytes,
        fingerprint=fingerprint,
    )
