"""`gatehouse`, with the duplicate check switched off: a write that is repeated is applied again.

The chaos run must fail on it (`python -m benchmarks.chaos --break-duplicates`): doubled steps above 0 are the proof
that the run would notice. The product has no such switch; this module patches it from outside.
"""

from __future__ import annotations

from gatehouse.command.main import main
from gatehouse_server.sessions import revisions, writing
from gatehouse_server.sessions.session import Session


def judge_every_write_as_new(session: Session, write: revisions.Revised) -> None:
    """As `revisions.judge`, but an accepted write that comes again is let through."""
    revisions.judge(session, write)


if __name__ == "__main__":
    setattr(writing, "judge", judge_every_write_as_new)  # noqa: B010 - mypy would not take a plain assignment
    main()
