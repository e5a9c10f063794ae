"""Generations as a client reads them, with either twin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest
from gatehouse import errors
from gatehouse.generated import generate_request
from gatehouse.generation import Generation
from gatehouse.v1 import online_pb2

from tests.client.fake_server import FakeServer


def test_steps_come_one_after_the_other(client: Any) -> None:
    """Each has its token, text, place and log-probability; at the end text and end are there."""
    generation = client.generate("how are", model="keyboard", max_steps=3)
    steps = list(generation)
    assert [(step.text, step.token_id, step.position) for step in steps] == [
        (" you", 4, 2),
        (" doing", 5, 3),
        (" done", 6, 4),
    ]
    assert all(step.log_probability < 0 and step.vector is None for step in steps)
    assert generation.texts == (" you doing done",)
    (end,) = generation.ends
    assert (end.alternative, end.reason) == (0, "length")
    assert end.log_probability == pytest.approx(sum(step.log_probability for step in steps))
    assert generation.state is None


def test_alternatives_are_told_apart(client: Any) -> None:
    """Each has its own text and its own end."""
    generation = client.generate("how are", model="keyboard", max_steps=2, alternatives=3)
    assert sorted((step.alternative, step.text) for step in generation) == [
        (0, " doing"),
        (0, " you"),
        (1, " doing"),
        (1, " today"),
        (2, " am"),
        (2, " done"),
    ]
    assert generation.texts == (" you doing", " doing today", " done am")
    assert [end.alternative for end in generation.ends] == [0, 1, 2]


def test_a_continuation_that_is_stopped_says_so(client: Any) -> None:
    """By the model's end token, or by one that was asked for."""
    generation = client.generate("today", model="keyboard")
    assert [step.text for step in generation] == [" i", " am"]
    assert generation.ends[0].reason == "stop"
    assert [step.text for step in client.generate("today", model="keyboard", stop_ids=[9])] == [" i"]


def test_a_session_tells_where_it_stands(client: Any, server: FakeServer) -> None:
    """After the last step; moved along, it stands behind the continuation."""
    session = client.session("keyboard")
    session.append(text="how")
    generation = client.generate(session=session.id, max_steps=2)
    list(generation)
    assert (generation.state.revision, generation.state.position) == (1, 1)
    moving = client.generate(
        session=session.id,
        max_steps=2,
        advance=True,
        incarnation=session.state.incarnation,
        revision=session.revision + 1,
    )
    list(moving)
    assert (moving.state.revision, moving.state.position) == (2, 3)
    asked = server.online.generations[-1]
    assert (asked.advance, asked.incarnation, asked.revision) == (True, session.state.incarnation, 2)


def test_a_refusal_names_its_field(client: Any) -> None:
    """The call's status is raised as any other."""
    with pytest.raises(errors.InvalidInputError) as caught:
        list(client.generate("how", model="keyboard", max_steps=1001))
    assert [violation.field for violation in caught.value.violations] == ["max_steps"]


def test_a_connection_that_breaks_is_told_and_nothing_is_repeated(client: Any, server: FakeServer) -> None:
    """What has come by then is there; the call is not made again by itself."""
    server.online.break_after = 2
    generation = client.generate("how are", model="keyboard")
    with pytest.raises(errors.UnavailableError):
        list(generation)
    assert generation.texts == (" you doing",)
    assert generation.ends == ()
    assert len(server.online.generations) == 1


def test_cancelled_it_ends(client: Any, server: FakeServer) -> None:
    """The loop over the steps ends, and the server is told; cancelled before it began, nothing is asked."""
    server.online.holds_on = True
    generation = client.generate("how are", model="keyboard")
    for step in generation:
        assert step.text == " you"
        generation.cancel()
    assert server.online.ended.wait(10)
    never = client.generate("how are", model="keyboard")
    never.cancel()
    assert list(never) == []
    assert len(server.online.generations) == 1


def test_cancelled_while_it_is_opened_it_ends() -> None:
    """Another thread cancels it when there is no call yet: no step is read, and the server is told."""

    class Call:
        cancelled = False

        def __iter__(self) -> Iterator[online_pb2.GenerateResponse]:
            yield online_pb2.GenerateResponse(steps=[online_pb2.GeneratedStep(text="how")])

        def cancel(self) -> None:
            self.cancelled = True

    call = Call()

    class Stub:
        def Generate(self, *arguments: object, **options: object) -> Call:  # noqa: N802  # the name is the contract's
            generation.cancel()
            return call

    generation = Generation(cast(Any, Stub()), asked(text="how"), timeout_seconds=1)
    assert list(generation) == []
    assert call.cancelled


def test_a_loop_that_is_left_ends_it(client: Any, server: FakeServer) -> None:
    """Whoever leaves in the middle lets the server stop."""
    server.online.holds_on = True
    generation = client.generate("how are", model="keyboard")
    steps = iter(generation)
    next(steps)
    steps.close()
    assert server.online.ended.wait(10)


def test_a_deadline_is_a_deadline(client: Any, server: FakeServer) -> None:
    """It counts from the first step to the last."""
    server.online.holds_on = True
    with pytest.raises(errors.DeadlineExceededError):
        list(client.generate("how are", model="keyboard", timeout_seconds=0.3))


def asked(**fields: Any) -> online_pb2.GenerateRequest:
    """The request for these arguments, everything else left out."""
    names = "text tokens features model session initial max_steps temperature top_k top_p seed incarnation revision"
    nothing = dict.fromkeys(names.split())
    return generate_request(**{**nothing, "alternatives": 1, "stop_ids": (), "advance": False, **fields})


def test_only_what_is_given_is_sent() -> None:
    """Any of the four options asks for drawing; none of them for the likeliest token."""
    plain = asked(model="m")
    assert plain == online_pb2.GenerateRequest(model="m", alternatives=1)
    drawn = asked(model="m", seed=0)
    assert drawn.HasField("sampling")
    assert drawn.sampling.HasField("seed")
    assert not drawn.sampling.HasField("temperature")
    given = asked(features=[[1.0, 2.0]], initial=[[3.0]])
    assert (given.features.width, len(given.features.values), given.initial.width) == (2, 8, 1)
    assert asked(tokens=[]).WhichOneof("prompt") == "tokens"
    with pytest.raises(TypeError, match="at most one of"):
        asked(text="a", tokens=[1])
