"""What is kept in mind of an operation that was refused."""

from __future__ import annotations

import weakref

from gatehouse_server.engine.observer import Happening, Observer
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.errors import DeadlineExpired, RevisionConflict, StateBehind
from gatehouse_server.sessions.operations import RefusedWrite, Write
from gatehouse_server.sessions.session import Session


def note_refusal(
    session: Session | None, ticket: Ticket, error: Exception, observer: Observer, *, now_seconds: float
) -> None:
    """Counts it, and remembers that the write which was next was refused, so that what follows it in a pipeline is
    too.
    """
    operation = ticket.operation
    if isinstance(error, DeadlineExpired):
        observer.happened(Happening.DROPPED_DEADLINE)
    if isinstance(error, RevisionConflict):
        observer.happened(Happening.WRITE_CONFLICTED)
        if session is not None:
            session.conflict = weakref.ref(ticket.sink), now_seconds
    elif isinstance(error, StateBehind):
        observer.happened(Happening.WRITE_BEHIND)
    elif (
        session is not None
        and isinstance(operation, Write | RefusedWrite)
        and operation.revision == session.revision + 1
    ):
        session.refused = True
