"""What tests of kept sessions share: limits that are soon reached, a write under a revision, an output to compare."""

from typing import Any

from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.operations import Write
from gatehouse_server.sessions.results import SessionView

from tests.sessions.desk import Desk, make_write

LIMITS = SessionLimits(max_sessions=64, max_live_sessions=8, max_resident_sessions=16)


def under(session_id: str, view: SessionView, revision: int, inputs: Any = None, **fields: Any) -> Write:
    """A write under a revision."""
    return make_write(session_id, inputs, incarnation=view.state.incarnation, revision=revision, **fields)


def vector(desk: Desk, session_id: str) -> Any:
    """The whole output at the end of the tape, without moving it."""
    position = desk.get(session_id).state.position
    output = desk.write(session_id, None, at=position, vector=True).steps[0].vector
    assert output is not None
    return output.tolist()
