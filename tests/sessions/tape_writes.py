"""Plays writes and suggestions into a server and into the model of its sessions at once, and compares every reply."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from gatehouse_server.errors import GatehouseError
from gatehouse_server.sessions.operations import Suggest, Write
from gatehouse_server.sessions.results import SuggestResult, WriteResult

from tests.sessions.desk import make_write
from tests.sessions.tape_inputs import BLOCKED_WORDS, Edit, tapes_after, typed
from tests.sessions.tape_lives import Lives
from tests.sessions.tape_records import Accepted, Asked, Standing
from tests.sessions.tape_replies import (
    check_incarnation,
    check_life_time,
    check_state,
    check_suggestions,
    check_write,
)
from tests.sessions.tape_session import TapeSession


class Writes(Lives):
    """Lives in which sessions are written to."""

    def write(self, session_id: str, build: Callable[[TapeSession], Asked]) -> None:
        """One write; when the server is in another life, it is made again from what the server says it has."""
        session = self.known(session_id)
        if session is None:
            return
        told = session.incarnation is not None
        asked = build(session)
        self.writes([asked])
        if not told and asked.revision is not None:
            assert session.incarnation is not None
            self.writes([build(session)])

    def writes(self, asked: Sequence[Asked], *, late: Sequence[Asked] = ()) -> None:
        """Writes sent together; `late` ones when the first tick of those is over."""
        tiers = {write.session_id: self.tier(write.session_id) for write in asked}
        for session_id in tiers:
            self.model.sessions[session_id].breathe()
        tickets = self.server.desk.send(*map(self._operation, asked))
        if late:
            self.server.desk.tick()
            tickets += self.server.desk.send(*map(self._operation, late))
        outcomes = self.server.desk.settle(tickets)
        for write, outcome in zip([*asked, *late], outcomes, strict=True):
            self._check_written(write, outcome, tiers.pop(write.session_id, "live"))

    def suggest(self, session_id: str, edit: Edit, seed: int, k: int) -> None:
        """A suggestion for an edited text; makes the session where there is none."""
        session = self.known(session_id)
        if session is not None and session.uncertain:
            session = self.seen(session_id)
        if session is not None and session.model != "keyboard":
            return
        if session is None and not self.model.lost.get(session_id, True):
            return
        network = self._networks["keyboard"]
        old = session.now.tape if session else ()
        sample = typed(network, old, edit, seed)
        result = self._asked(
            Suggest(session_id=session_id, model=None if session else "keyboard", text=sample.text, k=k)
        )
        assert isinstance(result, SuggestResult), result
        assert result.rebuilt == (session is None)
        assert result.prefix == sample.prefix
        if session is None:
            unstored = self.model.lost.get(session_id, frozenset({"SESSION_UNKNOWN"}))
            session = self.model.make(session_id, "keyboard", takes_tokens=True, standing=Standing())
            session.unstored = unstored
            self.counts["rebuilt"] += 1
        tapes = [
            tape
            for tape in tapes_after(old, sample, result.state.position, network.words)
            if check_suggestions(network, tape, result, k, sample.prefix, BLOCKED_WORDS)
        ]
        assert tapes, f"no tape of {result.state.position} steps answers so after {sample.text!r}"
        if session.crashed:
            session.settle(session.now.revision)
        if tapes[0] != old:
            self.counts["suggestions that moved"] += 1
            revision = session.now.revision + 1
            session.accept(Accepted(revision=revision, asked=None, at=0, tape=tapes[0]))
        check_state(self.model, session, result.state)
        check_life_time(self.model, session, result.state, used=True)

    def _operation(self, asked: Asked) -> Write:
        network = self.network(self.model.sessions[asked.session_id])
        inputs: Any = None
        if not asked.valid:
            inputs = (
                [network.width] if network.takes_tokens else np.full((1, network.width), np.nan, np.float32)
            )
        elif asked.steps:
            inputs = list(asked.steps) if network.takes_tokens else np.array(asked.steps, dtype=np.float32)
        return make_write(
            asked.session_id,
            inputs,
            k=asked.k,
            every_step=asked.every_step,
            scores=asked.scores,
            vector=asked.vector,
            at=asked.at,
            revision=asked.revision,
            incarnation=asked.incarnation,
        )

    def _check_written(self, asked: Asked, outcome: Any, tier: str) -> None:
        session = self.model.sessions[asked.session_id]
        if isinstance(outcome, Exception):
            self._check_refused(session, asked, outcome)
            return
        assert isinstance(outcome, WriteResult)
        if session.uncertain:
            self._settle(session, outcome.state.revision - 1)
        verdict = session.judge(asked, self.model.restarts)
        accepted = verdict.accepted
        assert accepted is not None, f"accepted, and should be refused with {set(verdict.reasons)}"
        assert outcome.repeated or not verdict.repeats, "a repeated write was applied again"
        assert not outcome.repeated or verdict.repeats, "a new write was taken for a repeated one"
        session.crashed = False
        if verdict.repeats:
            self.counts["duplicate"] += 1
            self.counts["duplicate after restart"] += accepted.life < self.model.restarts
            check_state(self.model, session, outcome.state, accepted)
        else:
            self._count_applied(session, accepted, tier)
            session.accept(accepted)
            check_state(self.model, session, outcome.state)
        check_life_time(self.model, session, outcome.state, used=True)
        meant = replace(asked, at=accepted.at)
        check_write(self.network(session), session.model, meant, accepted, outcome, self._seen)

    def _count_applied(self, session: TapeSession, accepted: Accepted, tier: str) -> None:
        self.counts["write"] += 1
        if accepted.at < session.now.position:
            self.counts["rewind"] += 1
            self.counts["rewind after hibernate"] += tier != "live"
            self.counts["fork, then rewind of the parent"] += session.forked
        elif tier != "live":
            self.counts[f"append after {tier}"] += 1

    def _check_refused(self, session: TapeSession, asked: Asked, outcome: Exception) -> None:
        assert isinstance(outcome, GatehouseError), outcome
        told = outcome.metadata
        session.latest_end = self.model.now + self.model.idle_seconds
        if "revision" in told:
            self._settle(session, int(told["revision"]))
        verdict = session.judge(asked, self.model.restarts)
        assert outcome.reason in verdict.reasons, f"{outcome!r}, and {verdict} was expected"
        if outcome.reason in ("STATE_BEHIND", "REVISION_CONFLICT", "PRECEDING_WRITE_REFUSED"):
            check_incarnation(self.model, session, int(told["incarnation"]))
            assert (int(told["revision"]), int(told["position"])) == (
                session.now.revision,
                session.now.position,
            )
        if outcome.reason == "POSITION_NOT_RETAINED":
            session.told_oldest = int(told["oldest_restorable_position"])
            assert asked.at is not None
            assert asked.at < session.told_oldest <= session.now.floor
        session.refuse(asked, outcome.reason)
        self.counts[outcome.reason] += 1
