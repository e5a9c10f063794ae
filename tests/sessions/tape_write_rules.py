"""The rules of the random game that write to sessions."""

from __future__ import annotations

import random
from dataclasses import replace

import hypothesis.strategies as st
from hypothesis.stateful import rule

from tests.sessions.tape_drawing import PIECES, Ask, Game, asks, places, seeds, sizes
from tests.sessions.tape_inputs import EDITS, Edit
from tests.sessions.tape_records import Asked
from tests.sessions.tape_session import TapeSession


class WriteRules(Game):
    """Writes of every kind, right and wrong ones, alone and in pipelines; suggestions."""

    sessions = Game.sessions

    @rule(session_id=sessions, size=sizes, seed=seeds, ask=asks)
    def append(self, session_id: str, size: int, seed: int, ask: Ask) -> None:
        """Steps at the end."""
        self.play.write(session_id, self.writing(100, size, seed, ask))

    @rule(session_id=sessions, place=places, size=st.integers(0, 12), seed=seeds, ask=asks)
    def go_back(self, session_id: str, place: int, size: int, seed: int, ask: Ask) -> None:
        """Steps, or none, at an earlier position."""
        self.play.write(session_id, self.writing(place, size, seed, ask))

    @rule(session_id=sessions, back=st.integers(1, 64), size=st.integers(0, 12), seed=seeds, ask=asks)
    def go_back_a_little(self, session_id: str, back: int, size: int, seed: int, ask: Ask) -> None:
        """Steps, or none, at one of the last 64 positions."""

        def build(session: TapeSession) -> Asked:
            position = session.now.position
            return self.asked(session, max(0, position - back), size, seed, ask)

        self.play.write(session_id, build)

    @rule(session_id=sessions, seed=seeds, ask=asks)
    def grow_long(self, session_id: str, seed: int, ask: Ask) -> None:
        """Many steps in few writes, so that little of the tape is recent; maybe back to where it is not."""
        for number in range(3):
            self.play.write(session_id, self.writing(100, 40, seed + number, ask))
        if seed % 2:
            self.play.write(
                session_id,
                lambda session: self.asked(session, min(seed % 41, session.now.position), 2, seed, ask),
            )

    @rule(session_id=sessions, size=st.integers(0, 12), seed=seeds, ask=asks)
    def start_over(self, session_id: str, size: int, seed: int, ask: Ask) -> None:
        """Steps, or none, at the beginning."""
        self.play.write(session_id, self.writing(0, size, seed, ask))

    @rule(session_id=sessions, place=st.none() | places, size=st.integers(1, 12), seed=seeds, ask=asks)
    def write_without_revision(
        self, session_id: str, place: int | None, size: int, seed: int, ask: Ask
    ) -> None:
        """Steps that are applied at once."""

        def build(session: TapeSession) -> Asked:
            asked = self.writing(100 if place is None else place, size, seed, ask)(session)
            return replace(asked, revision=None, incarnation=None, at=None if place is None else asked.at)

        session = self.play.known(session_id)
        if session is not None and session.uncertain and place is not None:
            self.play.seen(session_id)
        self.play.write(session_id, build)

    @rule(session_id=sessions, back=st.integers(1, 9), times=st.integers(1, 2))
    def repeat(self, session_id: str, back: int, times: int) -> None:
        """An accepted write again: one of the last eight, or one too old."""
        session = self.told(session_id)
        if session is None:
            return
        accepted = [
            known for known in self.history(session) if known.revision == session.now.revision + 1 - back
        ]
        self.play.writes([self.meant_for(session, write) for write in accepted] * times)

    @rule(session_id=sessions, back=st.integers(1, 10), seed=seeds, ask=asks)
    def conflict(self, session_id: str, back: int, seed: int, ask: Ask) -> None:
        """A used revision for something else."""
        session = self.told(session_id)
        if session is not None and session.now.revision >= back:
            asked = self.asked(session, session.now.position, 41, seed, ask)
            self.play.writes([replace(asked, revision=session.now.revision + 1 - back)])

    @rule(session_id=sessions, skipped=st.integers(1, 20), size=sizes, seed=seeds)
    def ahead(self, session_id: str, skipped: int, size: int, seed: int) -> None:
        """A revision that the server can't have yet."""
        session = self.told(session_id)
        if session is not None:
            asked = self.asked(session, session.now.position, size, seed, {})
            self.play.writes([replace(asked, revision=session.now.revision + 1 + skipped)])

    @rule(session_id=sessions, other=st.sampled_from((-1, 1, 2**40)), back=st.integers(0, 2), seed=seeds)
    def for_another_life(self, session_id: str, other: int, back: int, seed: int) -> None:
        """A write that was meant for another life of the session, whether its revision fits or not."""
        session = self.told(session_id)
        if session is not None:
            assert session.incarnation is not None
            asked = self.asked(session, session.now.position, 3, seed, {})
            self.play.writes(
                [
                    replace(
                        asked,
                        incarnation=session.incarnation + other,
                        revision=max(1, session.now.revision + 1 - back),
                    )
                ]
            )

    @rule(session_id=sessions, beyond=st.booleans(), following=st.integers(0, 3), seed=seeds)
    def invalid(self, session_id: str, beyond: bool, following: int, seed: int) -> None:
        """Inputs that no model takes, or a position beyond the end; what was sent after it; and what it should be."""
        session = self.told(session_id)
        if session is None:
            return
        right = self.asked(session, session.now.position, 1, seed, {})
        assert right.at is not None
        assert right.revision is not None
        wrong = replace(right, at=session.now.position + 1) if beyond else replace(right, valid=False)
        after = [
            replace(right, at=right.at + number, revision=right.revision + number)
            for number in range(1, following + 1)
        ]
        self.play.writes([wrong, *after, right] if following else [wrong])

    @rule(session_id=sessions, size=st.integers(17, 40), seed=seeds, ask=asks)
    def retry_that_overtakes(self, session_id: str, size: int, seed: int, ask: Ask) -> None:
        """The same write again while it is computed, and together with it."""
        session = self.told(session_id)
        if session is not None:
            asked = self.asked(session, session.now.position, size, seed, ask)
            self.play.writes([asked, asked], late=[asked])
            self.counts["retry that overtakes"] += 1

    @rule(
        ids=st.lists(sessions, min_size=1, max_size=4, unique=True),
        pieces=st.lists(st.sampled_from(PIECES), min_size=2, max_size=8),
        late=st.lists(st.sampled_from(PIECES), max_size=3),
        seed=seeds,
        ask=asks,
    )
    def pipeline(self, ids: list[str], pieces: list[str], late: list[str], seed: int, ask: Ask) -> None:
        """Many writes to several sessions before any is answered."""
        chosen = [session for session in map(self.told, ids) if session is not None]
        if not chosen:
            return
        source = random.Random(seed)
        sent: dict[str, list[Asked]] = {}

        def write(piece: str) -> Asked:
            session = source.choice(chosen)
            before = sent.setdefault(session.session_id, [])
            asked = self.piece(session, before, piece, source, ask)
            before.append(asked)
            return asked

        self.play.writes([write(piece) for piece in pieces], late=[write(piece) for piece in late])
        self.counts["pipeline"] += 1

    @rule(
        session_id=sessions,
        edits=st.lists(st.sampled_from(EDITS), min_size=1, max_size=3),
        seed=seeds,
        k=st.integers(1, 8),
    )
    def suggest(self, session_id: str, edits: list[Edit], seed: int, k: int) -> None:
        """Somebody types."""
        for number, edit in enumerate(edits):
            self.play.suggest(session_id, edit, seed + number, k)
