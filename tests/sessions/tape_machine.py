"""The rules of the random game that copy sessions, end them, let time pass and restart the server; and all rules."""

from __future__ import annotations

import random

import hypothesis.strategies as st
from hypothesis.stateful import multiple, precondition, rule

from tests.sessions.tape_drawing import MODELS, Ask, Game, asks, places, seeds
from tests.sessions.tape_model import UNTOLD_SHARE
from tests.sessions.tape_play import Exported
from tests.sessions.tape_server import IDLE_SECONDS, REST_SECONDS
from tests.sessions.tape_write_rules import WriteRules


class TapeMachine(WriteRules):
    """Random operations on several sessions of three models."""

    sessions = Game.sessions
    exports = Game.exports

    @rule(target=sessions, session_id=sessions, place=st.none() | places, repeated=st.booleans())
    def fork(self, session_id: str, place: int | None, repeated: bool):
        """A session with the tape of another one, or with its beginning."""
        source = self.play.known(session_id)
        if source is not None and place is not None and source.uncertain:
            source = self.play.seen(session_id)
        if source is None or self.full:
            return multiple()
        new_id = self.new_id()
        at = None if place is None else source.now.position * place // 100
        made = self.play.fork(source, new_id, at, request_id=f"fork-{new_id}" if repeated else None)
        return new_id if made else multiple()

    @rule(target=sessions, session_id=sessions, size=st.integers(17, 40), seed=seeds, ask=asks)
    def fork_in_a_pipeline(self, session_id: str, size: int, seed: int, ask: Ask):
        """A fork that waits for a write, and a write that waits for the fork."""
        session = self.told(session_id)
        if session is None or self.full:
            return multiple()
        before = self.asked(session, session.now.position, size, seed, ask)
        assert before.at is not None
        after = self.piece(session, [before], "rewind", random.Random(seed), ask)
        new_id = self.new_id()
        self.play.fork_between(before, new_id, after)
        return new_id

    @rule(target=sessions, session_id=sessions, size=st.integers(0, 20), seed=seeds, ask=asks)
    def travel(self, session_id: str, size: int, seed: int, ask: Ask):
        """A session is taken out and in again, while the first one goes on."""
        source = self.play.known(session_id)
        if source is None or self.full:
            return multiple()
        exported = self.play.export(source)
        self.go_back_a_little(session_id, seed % 8, size, seed, ask)
        new_id = self.new_id()
        self.play.take_in(exported, new_id, request_id=None)
        self.repeat(new_id, 1 + seed % 3, 1)
        return new_id

    @rule(target=exports, session_id=sessions)
    def export(self, session_id: str):
        """A session as bytes."""
        source = self.play.known(session_id)
        return multiple() if source is None else self.play.export(source)

    @rule(
        target=sessions,
        exported=exports,
        over=st.none() | sessions,
        repeated=st.booleans(),
        move_first=st.integers(0, 3),
    )
    def take_in(self, exported: Exported, over: str | None, repeated: bool, move_first: int):
        """A session from bytes, maybe under an identifier that was used, and when its source has gone on."""
        new_id = self.new_id() if over is None else over
        if (over is None and self.full) or not self.play.model.lost.get(new_id, True):
            return multiple()
        existed = self.play.known(new_id) is not None if over else False
        if move_first and self.play.model.sessions.get(exported.source_id):
            self.play.write(exported.source_id, self.writing(50, 2, move_first, {"vector": True}))
        self.play.take_in(
            exported, new_id, request_id=f"import-{self.new_id()}" if repeated and not existed else None
        )
        return new_id if over is None else multiple()

    @rule(
        exported=exports,
        place=st.floats(0.0, 1.0),
        bit=st.integers(0, 7),
        cut=st.booleans(),
    )
    def take_in_altered(self, exported: Exported, place: float, bit: int, cut: bool) -> None:
        """Bytes that somebody changed."""
        self.play.refuse_in(exported, self.new_id(), place, bit, cut=cut)

    @precondition(lambda self: not self.full)
    @rule(target=sessions, model=st.sampled_from(MODELS), repeated=st.booleans())
    def create(self, model: str, repeated: bool) -> str:
        """A new session."""
        session_id = self.new_id()
        self.play.create(session_id, model, request_id=f"create-{session_id}" if repeated else None)
        return session_id

    @rule(session_id=sessions, model=st.sampled_from(MODELS))
    def create_again(self, session_id: str, model: str) -> None:
        """A session under an identifier that was used."""
        if self.play.known(session_id) is not None or self.play.model.lost.get(session_id, True):
            self.play.create(session_id, model)

    @rule(session_id=sessions)
    def look(self, session_id: str) -> None:
        """Where it stands."""
        self.play.seen(session_id)

    @rule(session_id=sessions, seed=seeds, repeated=st.booleans())
    def delete(self, session_id: str, seed: int, repeated: bool) -> None:
        """A client ends a session."""
        if seed % 3 == 0 and self.play.known(session_id) is not None:
            self.play.delete(session_id, request_id=f"delete-{self.new_id()}" if repeated else None)

    @rule(session_id=sessions, size=st.integers(17, 40), seed=seeds, ask=asks, evicted=st.booleans())
    def end_midway(self, session_id: str, size: int, seed: int, ask: Ask, evicted: bool) -> None:
        """A session ends while it computes."""
        session = self.told(session_id)
        if seed % 3 == 0 and session is not None:
            self.play.end_midway(self.asked(session, session.now.position, size, seed, ask), evicted=evicted)

    @rule(session_id=sessions, seed=seeds)
    def evict(self, session_id: str, seed: int) -> None:
        """An operator ends a session."""
        if seed % 3 == 0 and self.play.known(session_id) is not None:
            self.play.evict(session_id)

    @rule(seconds=st.sampled_from((0.5, REST_SECONDS + 1, REST_SECONDS + 1, 0.7 * IDLE_SECONDS)))
    def wait(self, seconds: float) -> None:
        """Sessions come to rest, and those that rested twice may end."""
        self.play.pass_time(seconds)

    @rule(seed=seeds)
    def wait_long(self, seed: int) -> None:
        """Every session's time is up."""
        if seed % 3 == 0:
            self.play.pass_time((1 + UNTOLD_SHARE) * IDLE_SECONDS + 1)

    @rule(others=st.integers(2, 6))
    def crowd(self, others: int) -> None:
        """Other sessions take all places in memory for a moment."""
        ids = [self.new_id() for _ in range(others)]
        for session_id in ids:
            self.play.create(session_id, "keyboard")
        self.server.turn()
        for session_id in ids:
            self.play.delete(session_id)

    @rule()
    def flush(self) -> None:
        """The store catches up."""
        self.play.flush()

    @rule(suddenly=st.sampled_from((True, True, False)), seed=seeds)
    def restart(self, suddenly: bool, seed: int) -> None:
        """The server's process ends and another one begins."""
        if self.play.model.keeping != "none" or seed % 4 == 0:
            self.play.restart(suddenly=suddenly)

    @rule(
        session_id=sessions,
        back=st.integers(0, 8),
        size=st.integers(0, 20),
        seed=seeds,
        ask=asks,
        flush=st.booleans(),
        suddenly=st.booleans(),
    )
    def answer_lost_in_a_restart(
        self, session_id: str, back: int, size: int, seed: int, ask: Ask, flush: bool, suddenly: bool
    ) -> None:
        """The server ends after a write, before the client hears of it; the client asks again."""
        if self.play.model.keeping == "none" or self.told(session_id) is None:
            return
        self.go_back_a_little(session_id, back, size, seed, ask)
        if flush:
            self.play.flush()
        self.play.restart(suddenly=suddenly)
        self.repeat(session_id, 1, 1)
