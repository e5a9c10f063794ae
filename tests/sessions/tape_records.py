"""What is asked of a session, what it accepted, and where it stands after that: plain values."""

from __future__ import annotations

from dataclasses import dataclass

from tests.sessions.plain_networks import Step, Tape


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A write as a client means it. `valid` is false of one whose inputs no model would take.

    `at` is absent for the end of the tape, `revision` and `incarnation` for a write without protection.
    """

    session_id: str
    steps: tuple[Step, ...] = ()
    at: int | None = None
    revision: int | None = None
    incarnation: int | None = None
    k: int | None = None
    every_step: bool = False
    scores: bool = False
    vector: bool = False
    valid: bool = True

    @property
    def content(self) -> tuple[object, ...]:
        """What has to be the same in a repeat."""
        return (self.at, self.steps, self.k, self.every_step, self.scores, self.vector)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A write that was applied at `at`, and the tape after it. `asked` is absent when no repeat can name it.

    `inherited`: it was the source's, and the fork has only the beginning of that: whether it can be answered again is
    then open. `life` counts restarts before it.
    """

    revision: int
    asked: Asked | None
    at: int
    tape: Tape
    life: int = 0
    inherited: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A session after one of its revisions. From `floor` on every position has to be restorable.

    `recent` are its last writes, a few more than can be answered again.
    """

    revision: int = 0
    tape: Tape = ()
    recent: tuple[Accepted, ...] = ()
    floor: int = 0

    @property
    def position(self) -> int:
        """How many steps the tape has."""
        return len(self.tape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What may come of a write: what is accepted (None: nothing), and the reasons for which it may be refused."""

    accepted: Accepted | None = None
    repeats: bool = False
    reasons: frozenset[str] = frozenset()


def refused(*reasons: str) -> Verdict:
    """A write that has to be refused, for one of the reasons."""
    return Verdict(reasons=frozenset(reasons))
