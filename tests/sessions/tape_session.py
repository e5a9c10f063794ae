"""What one session must be, in plain Python: its tape, revisions, lives. No server, no network, no clock.

A session is known by the standings that it may be at. Normally that is one; after a sudden end of the server it is
any since the revision that was last told durable, and the next reply names which.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tests.sessions.tape_records import Accepted, Asked, Standing, Verdict, refused

REMEMBERED_WRITES = 8
RETAINED_POSITIONS = 64


@dataclass(slots=True, kw_only=True)
class TapeSession:
    """One session. `standings` ends with the present one; all but it are needed only if the server ends suddenly.

    `incarnation` is absent until it is told; then it is above `past_incarnation`. `durable` is the highest revision
    that was told to outlive the server. `told_oldest`: the oldest restorable position as last told.
    The session ends by itself between `earliest_end` and `latest_end`, seconds of the desk's clock. `unstored` is set
    while a sudden end of the server may make the session never have been (a suggestion made it): what is told then.
    `maybe_expired`: it may have ended so before a restart.
    """

    session_id: str
    model: str
    takes_tokens: bool
    past_incarnation: int
    earliest_end: float
    latest_end: float
    incarnation: int | None = None
    standings: list[Standing] = field(default_factory=lambda: [Standing()])
    durable: int = 0
    told_oldest: int | None = None
    refusing: Literal["no", "yes", "maybe"] = "no"
    crashed: bool = False
    forked: bool = False
    unstored: frozenset[str] | None = None
    maybe_expired: bool = False

    @property
    def now(self) -> Standing:
        """Where it stands, if nothing was lost."""
        return self.standings[-1]

    @property
    def uncertain(self) -> bool:
        """Whether writes may have been lost, and no reply has told yet."""
        return self.crashed and len(self.standings) > 1

    def why_gone(self, now: float) -> frozenset[str]:
        """Why the server may say that the session is gone, without being wrong."""
        expired = self.maybe_expired or self.earliest_end <= now
        reasons = frozenset({"SESSION_EXPIRED"}) if expired else frozenset()
        return reasons | (self.unstored or frozenset()) if self.crashed else reasons

    def settle(self, revision: int) -> int:
        """The server named the revision that it has; how many writes are lost by that."""
        lost = self.now.revision - revision
        if lost:
            assert self.crashed, f"{self.session_id} went from revision {self.now.revision} to {revision}"
            kept = [standing for standing in self.standings if standing.revision <= revision]
            assert kept, f"revision {self.durable} was told durable, and the server is at {revision}"
            assert kept[-1].revision == revision, f"revision {revision} never was"
            self.standings = kept
        self.crashed = False
        return lost

    def judge(self, asked: Asked, life: int) -> Verdict:
        """What may come of a write at the present standing."""
        assert not self.uncertain
        if not asked.valid:
            return refused("TOKEN_OUT_OF_RANGE", "FEATURES_NOT_FINITE")
        if asked.revision is None:
            return self._judge_place(asked, life)
        if asked.incarnation != self.incarnation:
            return refused("STATE_BEHIND")
        if asked.revision == self.now.revision + 1:
            return self._judge_place(asked, life)
        if asked.revision > self.now.revision + 1:
            reasons = {"yes": {"PRECEDING_WRITE_REFUSED"}, "no": {"STATE_BEHIND"}}.get(
                self.refusing, {"PRECEDING_WRITE_REFUSED", "STATE_BEHIND"}
            )
            return refused(*reasons)
        for accepted in self.now.recent[-REMEMBERED_WRITES:]:
            if accepted.revision == asked.revision and accepted.asked is not None:
                if accepted.asked.content != asked.content:
                    return refused("REVISION_CONFLICT")
                may_be_forgotten = {"REVISION_CONFLICT"} if accepted.inherited else set()
                return Verdict(accepted=accepted, repeats=True, reasons=frozenset(may_be_forgotten))
        return refused("REVISION_CONFLICT")

    def restorable(self, at: int) -> Verdict | None:
        """Why the state at `at` need not be restorable, or None when it has to be."""
        if not 0 <= at <= self.now.position:
            return refused("POSITION_OUT_OF_RANGE")
        if self.takes_tokens or at == 0 or at >= self.now.floor:
            return None
        return refused("POSITION_NOT_RETAINED")

    def _judge_place(self, asked: Asked, life: int) -> Verdict:
        at = self.now.position if asked.at is None else asked.at
        problem = self.restorable(at)
        if problem is not None and problem.reasons == {"POSITION_OUT_OF_RANGE"}:
            return problem
        accepted = Accepted(
            revision=self.now.revision + 1,
            asked=asked if asked.revision is not None else None,
            at=at,
            tape=self.now.tape[:at] + asked.steps,
            life=life,
        )
        return Verdict(accepted=accepted, reasons=problem.reasons if problem else frozenset())

    def accept(self, accepted: Accepted) -> None:
        """The write was applied."""
        self.refusing = "no"
        self.standings.append(
            Standing(
                revision=accepted.revision,
                tape=accepted.tape,
                recent=(*self.now.recent, accepted)[-REMEMBERED_WRITES - 2 :],
                floor=self.floor_after(accepted.at, len(accepted.tape)),
            )
        )

    def floor_after(self, at: int, position: int) -> int:
        """The floor after a write at `at`: what could be restored still can, but no more than the last 64.

        A write below what had to be restorable, that was accepted all the same, promises nothing but itself.
        """
        if self.takes_tokens:
            return 0
        if at == 0:
            return max(0, position - RETAINED_POSITIONS)
        kept = self.now.floor if self.told_oldest is None else min(self.now.floor, self.told_oldest)
        return position if at < kept else max(kept, position - RETAINED_POSITIONS)

    def refuse(self, asked: Asked, reason: str) -> None:
        """The write was refused; what was sent after it in the same breath is, too."""
        follows = asked.revision == self.now.revision + 1
        if follows and reason not in ("REVISION_CONFLICT", "STATE_BEHIND"):
            self.refusing = "yes"

    def breathe(self) -> None:
        """A new batch of operations begins: whether an earlier refusal still counts is left open."""
        if self.refusing == "yes":
            self.refusing = "maybe"

    def tell_durable(self, revision: int) -> None:
        """Standings before a durable one can't come back."""
        if revision:
            self.unstored = None
        self.durable = max(self.durable, revision)
        self.standings = [s for s in self.standings if s.revision >= self.durable] or self.standings[-1:]
