"""Generate over the wire, from the client to a server process and back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from gatehouse import Client, aio, errors
from gatehouse.v1 import online_pb2, online_pb2_grpc

from tests.service.conftest import Served, launch, stop
from tests.service.failures import failed
from tests.service.test_leaks import read_page
from tests.sessions.plain_networks import PlainNetwork
from tests.tiny import KEYBOARD_WORDS

NEVER = [KEYBOARD_WORDS.index(word) for word in ("<unk>", "damn")]
HOT: Any = {"temperature": 1000.0, "seed": 5}
"""Nearly even draws: an end token is rare."""

# The stubs do not know that a dictionary can stand for a submessage.
Request: Any = online_pb2.GenerateRequest


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    """A client of the server."""
    with Client(served.target) as client:
        yield client


def wait_for(http: str, series: str, wanted: Callable[[float], bool]) -> None:
    """Until a series has a value. Nobody can be told by another process when it does."""
    give_up = time.monotonic() + 30
    while not wanted(read_page(http)[series]):
        assert time.monotonic() < give_up, series
        time.sleep(0.01)


def test_the_likeliest_continuation_is_plain_torchs(served: Served, client: Client) -> None:
    """Through tokenizer, engine, wire and client: the tokens that `nn.LSTM` finds likeliest, one after the other."""
    plain = PlainNetwork(served.models / "keyboard" / "1")
    with client.generate("how are you", model="keyboard", max_steps=16) as generation:
        steps = list(generation)
    tape = [plain.vocabulary[word] for word in ("how", "are", "you")]
    for step in steps:
        expected = plain.log_probabilities(tape)[-1].clone()
        expected[NEVER] = -torch.inf
        assert (step.token_id, step.position) == (int(expected.argmax()), len(tape))
        assert step.log_probability == pytest.approx(float(expected.max()), abs=1e-5)
        tape.append(int(expected.argmax()))
    assert generation.texts == ("".join(step.text for step in steps),)
    assert [end.reason for end in generation.ends] in (["stop"], ["length"])
    assert generation.state is None


def test_a_session_stays_and_is_moved_along_once(client: Client) -> None:
    """Without `advance` it stands where it stood; with it, asked twice under one revision, it moves once."""
    session = client.session("keyboard")
    before = session.append(text="how are")
    with client.generate(session=session.id, alternatives=3, **HOT) as generation:
        tokens = [step.token_id for step in generation]
    assert tokens
    assert generation.state is not None
    assert (generation.state.revision, generation.state.position) == (1, 2)
    answers = []
    for _ in range(2):
        moving = client.generate(
            "you",
            session=session.id,
            temperature=1.5,
            max_steps=5,
            advance=True,
            incarnation=before.state.incarnation,
            revision=2,
        )
        drawn = [step.token_id for step in moving]
        assert moving.state is not None
        answers.append((drawn, moving.state.revision, moving.state.position))
    assert answers[0] == answers[1]
    assert session.refresh().revision == 2
    assert session.position == 3 + len(answers[0][0])
    assert session.append(text="good").revision == 3
    session.delete()


def test_the_same_seed_gives_the_same_on_another_server(served: Served, client: Client) -> None:
    """A second process of the same build and model draws the same tokens, with the same log-probabilities."""

    def drawn(client: Client) -> list[Any]:
        return sorted(
            client.generate("how", model="keyboard", alternatives=3, max_steps=10, temperature=1.1, seed=9),
            key=lambda step: (step.alternative, step.position),
        )

    process, serving = launch("--models", str(served.models), "--no-embedded-models")
    with Client(serving["grpc"]) as other:
        assert drawn(other) == drawn(client)
    assert stop(process) == 0


async def test_the_asynchronous_client_gets_the_same(served: Served, client: Client) -> None:
    """Its steps, texts and ends are those of its twin."""
    wanted: Any = {"model": "keyboard", "alternatives": 2, "max_steps": 6, "seed": 3}
    plain = client.generate("how are", **wanted)
    expected = list(plain)
    async with aio.Client(served.target) as other, other.generate("how are", **wanted) as generation:
        steps = [step async for step in generation]
    assert sorted(map(str, steps)) == sorted(map(str, expected))
    assert (generation.texts, generation.ends) == (plain.texts, plain.ends)


def test_a_reader_that_leaves_frees_the_states(served: Served, client: Client) -> None:
    """Cancelled, left, or beyond its deadline: no continuation is under way afterwards."""
    cut = read_page(served.http)['gatehouse_continuations_total{"cut_short"}']
    with client.generate(model="keyboard", alternatives=16, max_steps=1024, **HOT) as generation:
        next(iter(generation))
    late = client.generate(model="keyboard", alternatives=16, max_steps=1024, timeout_seconds=0.05, **HOT)
    with pytest.raises(errors.DeadlineExceededError):
        list(late)
    wait_for(served.http, "gatehouse_continuations_active", lambda value: value == 0)
    wait_for(served.http, 'gatehouse_continuations_total{"cut_short"}', lambda value: value >= cut + 2)


async def test_an_asynchronous_reader_that_leaves_frees_the_states(served: Served) -> None:
    """By `cancel`, which ends the loop, and by the end of the task."""
    async with aio.Client(served.target) as client:
        generation = client.generate(model="keyboard", alternatives=4, max_steps=1024, **HOT)
        async for _ in generation:
            await generation.cancel()

        async def read() -> None:
            async for _ in client.generate(model="keyboard", alternatives=4, max_steps=1024, **HOT):
                begun.set()

        begun = asyncio.Event()
        task = asyncio.create_task(read())
        await begun.wait()
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
    await asyncio.to_thread(wait_for, served.http, "gatehouse_continuations_active", lambda value: value == 0)


def test_generations_are_counted(served: Served, client: Client) -> None:
    """Calls by code, continuations by how they ended, steps."""
    before = read_page(served.http)
    generation = client.generate("how", model="keyboard", alternatives=3, max_steps=4, seed=1)
    steps = len(list(generation))
    with pytest.raises(errors.InvalidInputError):
        list(client.generate("how", model="keyboard", max_steps=0))
    after = read_page(served.http)

    def risen(series: str) -> float:
        return after[series] - before.get(series, 0)

    assert risen("gatehouse_generated_steps_total") == steps
    ended = ("stop", "length")
    assert sum(risen(f'gatehouse_continuations_total{{"{how}"}}') for how in ended) == 3
    assert risen('gatehouse_operations_total{"OK","generate"}') == 1
    assert risen('gatehouse_operations_total{"INVALID_ARGUMENT","generate"}') == 1


def test_beyond_the_limits_it_is_refused_and_told_when_to_come_back(served: Served) -> None:
    """Each call has its limit, and all calls together have one."""
    process, serving = launch(
        *["--models", str(served.models), "--no-embedded-models"],
        *["--max-continuations", "3", "--max-generated-steps", "50", "--max-alternatives", "9"],
    )
    with Client(serving["grpc"]) as client:
        wrong: Any
        for wrong in ({"alternatives": 4}, {"max_steps": 51}):
            with pytest.raises(errors.InvalidInputError) as refused:
                list(client.generate(model="keyboard", **wrong))
            assert [violation.field for violation in refused.value.violations] == [*wrong]
        refused_as = None
        for _ in range(50):  # a generation that has all places may end before the next one asks for one
            with client.generate(model="keyboard", alternatives=3, max_steps=50, **HOT) as first:
                next(iter(first))
                try:
                    list(client.generate(model="keyboard", max_steps=1))
                except errors.OverloadedError as error:
                    refused_as = error
                    break
        assert refused_as is not None
        assert refused_as.reason == "CONTINUATIONS_FULL"
        assert refused_as.retry_after_seconds
    assert stop(process) == 0


@pytest.mark.parametrize(
    ("fields", "code", "reason", "field"),
    [
        ({"model": "nobody"}, "NOT_FOUND", "MODEL_NOT_FOUND", ()),
        ({"model": "topics", "text": "cell"}, "INVALID_ARGUMENT", "WRONG_MODEL_KIND", ("model",)),
        ({"model": "motion"}, "INVALID_ARGUMENT", "WRONG_MODEL_KIND", ("model",)),
        ({"model": "broken", "text": "x"}, "FAILED_PRECONDITION", "MODEL_FAILED", ()),
        ({"session_id": "nobody"}, "NOT_FOUND", "SESSION_UNKNOWN", ()),
        (
            {"model": "keyboard", "tokens": {"ids": [66]}},
            "INVALID_ARGUMENT",
            "TOKEN_OUT_OF_RANGE",
            ("tokens.ids[0]",),
        ),
        (
            {"model": "keyboard", "tokens": {"ids": [2] * 5000}},
            "INVALID_ARGUMENT",
            "INPUT_TOO_LONG",
            ("tokens.ids",),
        ),
        ({"model": "keyboard", "stop_ids": [-1]}, "INVALID_ARGUMENT", "TOKEN_OUT_OF_RANGE", ("stop_ids[0]",)),
        ({"model": "keyboard", "text": "a" * 70_000}, "INVALID_ARGUMENT", "INPUT_TOO_LONG", ("text",)),
        (
            {"model": "keyboard", "sampling": {"top_p": 2}},
            "INVALID_ARGUMENT",
            "INVALID_INPUT",
            ("sampling.top_p",),
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_request_is_told_by_code_reason_and_field(
    channel: Any, fields: dict[str, Any], code: str, reason: str, field: tuple[str, ...]
) -> None:
    """Before the first message, in one line."""
    stub = online_pb2_grpc.OnlineServiceStub(channel)
    failure = failed(lambda: list(stub.Generate(Request(**fields))))
    assert (failure.code, failure.reason, failure.fields) == (code, reason, field)


def test_a_server_that_leaves_finishes_what_it_began(served: Served) -> None:
    """A generation under way when the server is told to stop comes to its end."""
    process, serving = launch("--models", str(served.models), "--no-embedded-models")
    with Client(serving["grpc"]) as client:
        generation = client.generate(model="keyboard", alternatives=8, max_steps=200, **HOT)
        steps = iter(generation)
        next(steps)
        process.terminate()
        list(steps)
        assert len(generation.ends) == 8
    process.communicate(timeout=60)
    assert process.returncode == 0
