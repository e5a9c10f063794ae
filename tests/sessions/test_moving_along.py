"""A generation moves its session only when it is asked to, once, by a write like any other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gatehouse_server.errors import (
    GatehouseError,
    InvalidInput,
    ModelMismatch,
    RevisionConflict,
    SessionNotFound,
    StateBehind,
    TapeFull,
)
from gatehouse_server.models.registry import Registry
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.results import SessionState
from gatehouse_server.sessions.sampling import Sampling

from tests.sessions.desk import Desk
from tests.sessions.generating import Generated, generate, request, whole_output
from tests.tiny import KEYBOARD_WORDS

DRAWN = Sampling(temperature=1.5, top_p=0.9)
HOW_ARE = [KEYBOARD_WORDS.index(word) for word in ("how", "are")]


def along(desk: Desk, session_id: str, state: SessionState, revision: int, prompt: Any = None) -> Generated:
    """A generation that is to make this revision, not yet applied."""
    asked = request(
        session_id=session_id,
        prompt=prompt,
        max_steps=6,
        advance=True,
        incarnation=state.incarnation,
        revision=revision,
    )
    return generate(desk, asked, DRAWN)


def test_a_session_stays_where_it_is(desk: Desk) -> None:
    """After a generation it stands where it stood, and answers what it would have answered."""
    session = desk.create().session_id
    before = desk.write(session, HOW_ARE, k=3)
    generate(desk, request(session_id=session, prompt=HOW_ARE, count=3), DRAWN)
    assert desk.get(session).state == before.state
    after = desk.write(session, at=2, k=3)
    answers = [each.steps[0].best_log_probabilities for each in (before, after)]
    assert answers[0] is not None
    assert answers[1] is not None
    assert answers[0].tolist() == answers[1].tolist()


def test_moved_along_it_has_prompt_and_continuation(desk: Desk) -> None:
    """One write takes both, and the session then answers as one that was written to by hand."""
    session = desk.create().session_id
    state = desk.write(session, HOW_ARE).state
    made = along(desk, session, state, 2, prompt=HOW_ARE)
    assert made.write is not None
    moved = desk.one(made.write)
    assert (moved.state.revision, moved.state.position) == (2, 4 + len(made.tokens()))
    by_hand = desk.create().session_id
    desk.write(by_hand, [*HOW_ARE, *HOW_ARE, *made.tokens()])
    assert whole_output(desk, session, HOW_ARE) == whole_output(desk, by_hand, HOW_ARE)


@pytest.mark.parametrize("between", ["nothing", "a write", "a write further back", "rest"])
def test_asked_again_it_says_the_same_and_moves_nothing(desk: Desk, between: str) -> None:
    """Without a seed, too: under one revision the same tokens come, from where the first time began, whatever the
    session did since.
    """
    session = desk.create().session_id
    state = desk.write(session, HOW_ARE).state
    first = along(desk, session, state, 2, prompt="you")
    moved = desk.one(first.write)
    if between == "a write":
        desk.write(session, HOW_ARE)
    elif between == "a write further back":
        desk.write(session, HOW_ARE, at=1)
    elif between == "rest":
        desk.now += 100.0
        desk.tick()
    stands = desk.get(session).state
    again = along(desk, session, state, 2, prompt="you")
    assert again.steps == first.steps
    repeated = desk.one(again.write)
    assert repeated.repeated
    assert (repeated.state.revision, repeated.state.position) == (2, moved.state.position)
    now = desk.get(session).state
    assert (now.revision, now.position) == (stands.revision, stands.position)


@pytest.mark.parametrize("drained", [True, False])
def test_asked_again_of_the_next_process_it_says_the_same(kept: Desk, drained: bool) -> None:
    """In its new life the session is told from the one that was left by the incarnation; the tokens are the same ones,
    drawn without a seed, and the tape does not move.
    """
    session = kept.create().session_id
    first = along(kept, session, kept.write(session, HOW_ARE).state, 2, prompt="you")
    moved = kept.one(first.write)
    kept.store()
    kept.restart(store_first=drained)
    state = kept.get(session).state
    again = along(kept, session, state, 2, prompt="you")
    assert state.incarnation != moved.state.incarnation
    assert again.steps == first.steps
    repeated = kept.one(again.write)
    assert repeated.repeated
    assert (repeated.state.revision, repeated.state.position) == (2, moved.state.position)
    assert kept.get(session).state.position == moved.state.position


def test_another_request_under_an_accepted_revision_is_a_conflict(desk: Desk) -> None:
    """What was accepted under it is told from what is asked for now, at the end at the latest."""
    session = desk.create().session_id
    state = desk.write(session, HOW_ARE).state
    desk.one(along(desk, session, state, 2).write)
    other = along(desk, session, state, 2, prompt="you")
    with pytest.raises(RevisionConflict):
        desk.one(other.write)


def test_a_session_that_moved_meanwhile_is_left_alone(desk: Desk) -> None:
    """Even when no revision was given: a continuation is of the tape that it was made for."""
    session = desk.create().session_id
    desk.write(session, HOW_ARE)
    made = generate(desk, request(session_id=session, advance=True), DRAWN)
    moved = desk.write(session, HOW_ARE)
    with pytest.raises(RevisionConflict):
        desk.one(made.write)
    assert desk.get(session).state.revision == moved.state.revision


def test_an_empty_continuation_still_makes_its_revision(desk: Desk) -> None:
    """When the first token ends it, the write moves nothing but the revision."""
    session = desk.create().session_id
    desk.write(session, HOW_ARE)
    every = tuple(range(len(KEYBOARD_WORDS)))
    made = generate(desk, request(session_id=session, advance=True, stop_ids=every))
    assert made.tokens() == []
    moved = desk.one(made.write).state
    assert (moved.revision, moved.position) == (2, 2)


@pytest.mark.parametrize(
    ("fields", "failure", "says"),
    [
        ({"revision": 3, "incarnation": 0}, StateBehind, "another life"),
        ({"revision": 9}, StateBehind, "revision 1"),
        ({"revision": 1}, RevisionConflict, "another write"),
        ({"model": "melody"}, ModelMismatch, "keyboard@1"),
        ({"session_id": "nobody"}, SessionNotFound, "nobody"),
        ({"prompt": np.array(HOW_ARE * 20)}, InvalidInput, "max_steps: expected at most 24"),
        ({"prompt": np.array(HOW_ARE * 16), "max_steps": 32}, TapeFull, "66 steps"),
        ({"prompt": np.array([0, 999])}, InvalidInput, "tokens.ids[1]"),
        ({"prompt": np.zeros((1, 3), dtype=np.float32)}, InvalidInput, "token ids or text"),
        ({"prompt": " "}, InvalidInput, "text"),
        ({"stop_ids": (3, 66)}, InvalidInput, "stop_ids[1]: expected an id from 0 to"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_drawn(
    registry: Registry, fields: dict[str, Any], failure: type[GatehouseError], says: str
) -> None:
    """One clear line for each; the session stands where it stood, and no sequence is left open."""
    limits = SessionLimits(max_sessions=64, max_write_steps=64, max_tape_steps=65)
    desk = Desk(registry, limits=limits)
    session = desk.create().session_id
    state = desk.write(session, HOW_ARE).state
    asked = request(session_id=session, advance=True, max_steps=32)
    incarnation = state.incarnation if "revision" in fields else None
    asked = replace(asked, **{"incarnation": incarnation, **fields})
    (outcome,) = desk.ask(asked)
    assert isinstance(outcome, failure)
    assert says in outcome.message
    assert "\n" not in outcome.message
    assert desk.get(session).state.revision == 1
    desk.tick()
    assert desk.counts.last_gauges.continuations == 0
