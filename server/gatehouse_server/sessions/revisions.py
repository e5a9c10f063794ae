"""The rule of exactly once: what a write's revision means for a session. Pure."""

from __future__ import annotations

from hashlib import blake2b

from gatehouse_server.engine.value import value
from gatehouse_server.errors import PrecedingWriteRefused, RevisionConflict, StateBehind
from gatehouse_server.sessions.operations import OutputRequest
from gatehouse_server.sessions.session import AcceptedWrite, Session
from gatehouse_server.sessions.tape import Inputs


@value
class Revised:
    """A write's claim: it makes `revision` of the life `incarnation`; `digest` tells its content."""

    incarnation: int
    revision: int
    digest: bytes


def digest(at: int, inputs: Inputs, outputs: OutputRequest) -> bytes:
    """A write's content in 16 bytes: position, decoded inputs and outputs asked for, never serialized bytes.

    It is kept with stored sessions: other bytes for the same content would make repeated writes conflicts.
    """
    k, every_step, scores, vector, hidden, activations = outputs
    asked = f"({at}, {k}, {every_step}, {scores}, {vector})('{inputs.dtype.str}', {inputs.shape})"
    if hidden or activations:  # what could not be asked for when the first sessions were stored
        asked += f"({hidden}, {activations})"
    return blake2b(asked.encode() + inputs.tobytes(), digest_size=16).digest()


def judge(session: Session, write: Revised) -> AcceptedWrite | None:
    """The accepted write that this one repeats, or None when it is to be applied now.

    Raises StateBehind when the session is in another life or has less than the client believes, RevisionConflict when
    the write is too old to be answered again or differs from what was accepted, PrecedingWriteRefused when it
    was sent after a write that was refused.
    """
    if write.incarnation != session.incarnation:
        raise StateBehind(
            f"the session is in another life than the write was meant for: a server took it up anew. It stands at "
            f"revision {session.revision}, position {session.position}, incarnation {session.incarnation}",
            metadata=standing(session),
        )
    next_revision = session.revision + 1
    if write.revision == next_revision:
        return None
    if write.revision > next_revision:
        if session.refused:
            raise PrecedingWriteRefused(
                f"a write before this one was refused. Send revision {session.revision + 1} next",
                metadata=standing(session),
            )
        raise StateBehind(
            f"the session is at revision {session.revision}, so the next write makes {session.revision + 1}, "
            f"not {write.revision}. Send again what came after revision {session.revision}",
            metadata=standing(session),
        )
    for accepted in session.recent:
        if accepted.revision == write.revision and accepted.digest == write.digest:
            return accepted
    raise RevisionConflict(
        f"revision {write.revision} was another write, or is too old to be answered again. "
        f"The session is at revision {session.revision}; the next write makes {session.revision + 1}",
        metadata=standing(session),
    )


def standing(session: Session) -> dict[str, str]:
    """Where the session stands, as an error's metadata."""
    return {
        "incarnation": str(session.incarnation),
        "revision": str(session.revision),
        "position": str(session.position),
    }
