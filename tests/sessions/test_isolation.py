"""What a session answers is its own affair: the same bits alone and in a crowd that comes, goes and fails around it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gatehouse_server.engine.observer import Happening
from gatehouse_server.errors import DeadlineExpired, SessionNotFound
from gatehouse_server.models.registry import Registry
from gatehouse_server.network.network import Network
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.operations import (
    CreateSession,
    DeleteSession,
    EvictSession,
    InspectSession,
    Write,
)
from gatehouse_server.sessions.results import SessionLine, WriteResult
from gatehouse_server.stores.sqlite import SqliteStore

from tests.sessions.desk import Desk, make_write
from tests.tiny import (
    FEATURE_NAMES,
    KEYBOARD_WORDS,
    MELODY_NOTES,
    write_tiny_features,
    write_tiny_keyboard,
    write_tiny_melody,
)

MODELS = ("keyboard", "melody", "motion")
SUBJECT = "subject"
NEIGHBOURS = 200
ROUNDS = 27
BUSY_PER_ROUND = 30
REST_SECONDS, IDLE_SECONDS = 5.0, 60.0

HAS_TO_HAPPEN = (
    Happening.DROPPED_DEADLINE,
    Happening.SESSION_DELETED,
    Happening.SESSION_EVICTED,
    Happening.SESSION_EXPIRED,
    Happening.SESSION_RESTED,
    Happening.SESSION_WOKEN,
    Happening.REWOUND,
)

Inputs = Callable[[random.Random, int], np.ndarray]
Bits = tuple[Any, ...]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """A projected LSTM that predicts words, a GRU that predicts notes, and a GRU of features."""
    folder = tmp_path_factory.mktemp("models")
    write_tiny_keyboard(folder / "keyboard" / "1")
    write_tiny_melody(folder / "melody" / "1")
    write_tiny_features(folder / "motion" / "1")
    registry = Registry.load([folder], embedded=None)
    assert not registry.failed
    return registry


def inputs_of(model: str) -> Inputs:
    """Draws so many steps of a model."""
    if model == "motion":
        return lambda draw, steps: np.array(
            [[draw.uniform(-2, 2) for _ in FEATURE_NAMES] for _ in range(steps)], dtype=np.float32
        ).reshape(steps, len(FEATURE_NAMES))
    size = len(KEYBOARD_WORDS if model == "keyboard" else MELODY_NOTES)
    return lambda draw, steps: np.array([draw.randrange(size) for _ in range(steps)], dtype=np.int64)


def the_story(model: str) -> list[Write]:
    """What happens to the session that is looked at: short and long writes, and ways back, near and far."""
    draw, inputs, position = random.Random(7), inputs_of(model), 0
    story = []
    for number in range(ROUNDS):
        steps = draw.choice((1, 1, 2, 5, 16, 17, 40))
        back = draw.choice((0, 0, 0, 0, 1, 3, 30)) if number else 0
        at = max(0, position - back)
        story.append(
            make_write(
                SUBJECT,
                inputs(draw, steps),
                at=at,
                k=None if model == "motion" else 5,
                every_step=bool(number % 2),
                scores=model != "motion",
                vector=True,
            )
        )
        position = at + steps
    return story


def bits(result: WriteResult) -> Bits:
    """Everything that is computed, as bytes."""
    parts = [
        (step.position, *(None if part is None else part.tobytes() for part in _arrays(step)))
        for step in result.steps
    ]
    scores = None if result.scores is None else result.scores.tobytes()
    return result.state.revision, result.state.position, scores, *parts


def _arrays(step: Any) -> tuple[np.ndarray | None, ...]:
    return step.vector, step.best_ids, step.best_log_probabilities


def alone(registry: Registry, model: str) -> list[Bits]:
    """The story of a session that has a server to itself."""
    desk = Desk(registry, records_ticks=True)
    desk.create(model, SUBJECT)
    return [bits(desk.one(write)) for write in the_story(model)]


@dataclass
class Crowd:
    """The neighbours: in each round many of them write, some of them in vain, and some end, one way or another."""

    desk: Desk
    model: str
    draw: random.Random = field(default_factory=lambda: random.Random(11))
    there: list[str] = field(default_factory=list)
    made: int = 0
    seen: Counter[str] = field(default_factory=Counter)

    def fill(self) -> None:
        """Until there are as many as there should be."""
        missing = [f"n{self.made + number}" for number in range(NEIGHBOURS - len(self.there))]
        self.made += len(missing)
        for outcome in self.desk.ask(*(CreateSession(model=self.model, session_id=name) for name in missing)):
            assert not isinstance(outcome, Exception), outcome
        self.there += missing

    def operations(self) -> list[tuple[Any, float | None]]:
        """What they do in a round, each with its deadline."""
        inputs = inputs_of(self.model)
        sent: list[tuple[Any, float | None]] = []
        for name in self.draw.sample(self.there, BUSY_PER_ROUND):
            write = make_write(name, inputs(self.draw, self.draw.choice((1, 1, 4, 33))), vector=True)
            kind = self.draw.choice(("write", "write", "write", "too late", "deleted", "evicted"))
            # Too late by the time of the first tick, while its work waits in the queue.
            sent.append((write, self.desk.now + 0.01 if kind == "too late" else None))
            if kind in ("deleted", "evicted"):
                ending = DeleteSession if kind == "deleted" else EvictSession
                sent += [(ending(session_id=name), None), (write, None)]
                self.there.remove(name)
        return sent

    def play(self, write: Write) -> WriteResult:
        """A round in which the subject writes too, somewhere in between."""
        desk = self.desk
        number = len(desk.counts.ticks)
        sent = self.operations()
        place = self.draw.randrange(len(sent) + 1)
        tickets = []
        for operation, deadline_seconds in [*sent[:place], (write, None), *sent[place:]]:
            tickets += desk.send(operation, deadline_seconds=deadline_seconds)
        desk.now += 0.02
        outcomes = desk.settle(tickets)
        result = outcomes.pop(place)
        for (operation, _), outcome in zip(sent, outcomes, strict=True):
            if isinstance(outcome, SessionNotFound):  # it ended, or its time was up
                self.there = [name for name in self.there if name != operation.session_id]
            else:
                assert isinstance(outcome, DeadlineExpired) or not isinstance(outcome, Exception), outcome
        self.seen["largest batch"] = max(
            self.seen["largest batch"], *(tick.sessions for tick in desk.counts.ticks[number:])
        )
        assert isinstance(result, WriteResult), result
        return result

    def pass_time(self, number: int) -> None:
        """Between rounds: sessions rest, expire, move to the store. Where the subject is then, is counted."""
        self.desk.now += REST_SECONDS + 1 if number % 3 == 0 else 1.0
        if number % 9 == 8:
            self.desk.now += IDLE_SECONDS - REST_SECONDS - 10
        for _ in range(2):
            self.desk.store()
        there = self.desk.one(InspectSession(session_id=SUBJECT))
        assert isinstance(there, SessionLine)
        self.seen[there.tier] += 1


def in_a_crowd(registry: Registry, model: str, live: int, path: Path) -> tuple[list[Bits], Crowd]:
    """The story of a session that has neighbours; and what they did."""
    desk = Desk(
        registry,
        limits=SessionLimits(
            max_sessions=2 * NEIGHBOURS,
            max_live_sessions=live,
            max_resident_sessions=1 if live < NEIGHBOURS else 2 * NEIGHBOURS,
            rest_seconds=REST_SECONDS,
            idle_seconds=IDLE_SECONDS,
            grace_seconds=0.0,
        ),
        open_store=lambda: SqliteStore(path),
    )
    crowd = Crowd(desk, model)
    desk.create(model, SUBJECT)
    answers = []
    for number, write in enumerate(the_story(model)):
        crowd.fill()
        answers.append(bits(crowd.play(write)))
        crowd.pass_time(number)
    desk.leave()
    return answers, crowd


@pytest.mark.parametrize("live", [16, 256])
@pytest.mark.parametrize("model", MODELS)
def test_a_session_answers_in_a_crowd_what_it_answers_alone(registry, tmp_path, model, live) -> None:
    """To the bit, among 200 others that end, fail, rest and are woken, while it is itself moved about."""
    expected = alone(registry, model)
    answers, crowd = in_a_crowd(registry, model, live, tmp_path / "sessions.db")
    assert answers == expected
    happened = crowd.desk.counts.happenings
    rare = [happening for happening in HAS_TO_HAPPEN if happened.get(happening, 0) < 5]
    assert not rare, happened
    assert crowd.seen["largest batch"] > min(live, BUSY_PER_ROUND) // 2
    assert {"live", "host" if live > NEIGHBOURS else "store"} <= set(crowd.seen), (
        "the subject was moved about"
    )


def test_the_comparison_sees_a_neighbour_that_shows(registry, tmp_path, monkeypatch) -> None:
    """It fails when the size of the batch changes the last bit of one value."""
    scan = Network.scan

    def loud(self, inputs, batch_sizes, state):
        outputs = scan(self, inputs, batch_sizes, state)
        if batch_sizes[0] > 8:
            state[0][0, 0] = float(np.nextafter(np.float32(state[0][0, 0]), np.float32(9)))
        return outputs

    expected = alone(registry, "melody")
    monkeypatch.setattr(Network, "scan", loud)
    answers, _ = in_a_crowd(registry, "melody", 16, tmp_path / "sessions.db")
    assert answers != expected
