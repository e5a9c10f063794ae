"""What a random game with sessions is drawn from, and how it begins and ends."""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import hypothesis.strategies as st
from gatehouse_server.models.registry import Registry
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, multiple

from tests.sessions.plain_networks import PlainNetwork
from tests.sessions.tape_inputs import steps_of
from tests.sessions.tape_model import Keeping, TapeModel
from tests.sessions.tape_play import Play
from tests.sessions.tape_records import Asked
from tests.sessions.tape_server import IDLE_SECONDS, TapeServer
from tests.sessions.tape_session import TapeSession

_MEMORY = Path("/dev/shm")
"""A file system in memory, where there is one: hundreds of games need not wait for a disk."""

MODELS = ("keyboard", "melody", "motion")
MOST_STEPS_ON_TAPE = 160

Ask = dict[str, Any]
"""What a write asks back, as fields of Asked."""

seeds = st.integers(0, 2**16)
sizes = st.one_of(st.integers(1, 6), st.integers(1, 40))
places = st.integers(0, 100)
asks = st.sampled_from(
    [
        {"vector": True},
        {"vector": True, "every_step": True},
        {"k": 3},
        {"k": 5, "every_step": True, "scores": True},
        {"scores": True},
        {},
    ]
)
PIECES = (
    "append",
    "append",
    "long append",
    "rewind",
    "again",
    "earlier again",
    "conflict",
    "ahead",
    "invalid",
)


class Game(RuleBasedStateMachine):
    """Several sessions of three models. Subclasses have the rules, give what they run on, and gather counts."""

    registry: ClassVar[Registry]
    networks: ClassVar[dict[str, PlainNetwork]]
    counts: ClassVar[Counter[str]]

    sessions = Bundle("sessions")
    exports = Bundle("exports")

    @initialize(
        target=sessions,
        keeping=st.sampled_from(("none", "async", "async", "sync")),
        live=st.sampled_from((2, 3, 64)),
        resident=st.sampled_from((2, 4, 64)),
    )
    def begin(self, keeping: Keeping, live: int, resident: int):
        """A server of some durability, with or without room for all sessions, and one session of each model."""
        self.folder = Path(tempfile.mkdtemp(prefix="tapes-", dir=_MEMORY if _MEMORY.is_dir() else None))
        self.server = TapeServer(self.registry, self.folder, keeping=keeping, live=live, resident=resident)
        model = TapeModel(keeping=keeping, idle_seconds=IDLE_SECONDS, now=self.server.desk.now)
        self.play = Play(self.server, model, self.networks, self.counts)
        self.made = 0
        for name in MODELS:
            self.play.create(self.new_id(), name)
        return multiple(*model.sessions)

    def teardown(self) -> None:
        """Looks at every session once more, unless something is known to be wrong."""
        if not hasattr(self, "play"):
            return
        try:
            if sys.exc_info()[0] is None:
                self.play.finish()
                self.counts["examples"] += 1
        finally:
            self.server.close()
            shutil.rmtree(self.folder)

    def new_id(self) -> str:
        """An identifier that no session had."""
        self.made += 1
        return f"s{self.made}"

    @property
    def full(self) -> bool:
        """Whether there are enough sessions."""
        return len(self.play.model.sessions) >= 8

    def told(self, session_id: str) -> TapeSession | None:
        """The session, in a life that the client knows of."""
        session = self.play.known(session_id)
        if session is not None and session.incarnation is None:
            return self.play.seen(session_id)
        return session

    def history(self, session: TapeSession) -> list[Asked]:
        """The accepted writes that a client may repeat."""
        return [accepted.asked for accepted in session.now.recent if accepted.asked is not None]

    def meant_for(self, session: TapeSession, asked: Asked) -> Asked:
        """The same write for this life of this session."""
        return replace(asked, session_id=session.session_id, incarnation=session.incarnation)

    def writing(self, place: int, size: int, seed: int, ask: Ask) -> Callable[[TapeSession], Asked]:
        """Makes a write at `place` percent of the tape, with what was told of the session."""

        def build(session: TapeSession) -> Asked:
            return self.asked(session, session.now.position * place // 100, size, seed, ask)

        return build

    def asked(self, session: TapeSession, at: int, size: int, seed: int, ask: Ask) -> Asked:
        """The next write; at the beginning when the tape would become long."""
        network = self.play.network(session)
        if at + size > MOST_STEPS_ON_TAPE:
            at = 0
        wanted = dict(ask)
        if not network.predicts_tokens and wanted:
            wanted = {"vector": True, "every_step": bool(ask.get("every_step"))}
        return Asked(
            session_id=session.session_id,
            steps=steps_of(network, size, seed),
            at=at,
            revision=session.now.revision + 1,
            incarnation=session.incarnation or session.past_incarnation,
            **wanted,
        )

    def piece(
        self, session: TapeSession, before: list[Asked], piece: str, source: random.Random, ask: Ask
    ) -> Asked:
        """A write that follows those already sent, as a client means it."""
        revision, position = session.now.revision, session.now.position
        for asked in before:
            if asked.valid and asked.revision == revision + 1:
                assert asked.at is not None
                revision, position = asked.revision, asked.at + len(asked.steps)
        earlier = before or list(self.history(session))
        if piece in ("again", "earlier again") and earlier:
            return self.meant_for(session, earlier[-1] if piece == "again" else source.choice(earlier))
        at = max(0, position - source.randint(0, 20)) if piece == "rewind" else position
        size = source.randint(17, 40) if piece == "long append" else source.randint(1, 6)
        if at + size > MOST_STEPS_ON_TAPE:
            at = 0
        asked = self.asked(session, at, size, source.randrange(2**16), ask)
        shift = {"conflict": 0, "ahead": 3}.get(piece, 1)
        return replace(asked, revision=max(1, revision + shift), valid=piece != "invalid")
