"""What a stream has of large answers at once is bounded, from the reading of their operations on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gatehouse.v1 import online_pb2
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.models.registry import Registry
from gatehouse_server.sessions.operations import OutputRequest
from gatehouse_server.sessions.results import StepOutput, Suggestion, SuggestResult, WriteResult
from gatehouse_server.transport.decoding import decode_write
from gatehouse_server.transport.encoding import weight_bytes
from gatehouse_server.transport.output_sizes import LargeOutputs, OutputSizes

from tests.tiny import write_tiny_features, write_tiny_keyboard
from tests.transport.stage import STATE, TIMING, step_output, write_result
from tests.transport.streams import ONLINE, received, request, streaming, write

EVERY = online_pb2.OUTPUT_STEPS_EVERY
MAX_BYTES = 3 * 2**20


def asking(tag: int, **outputs: Any) -> online_pb2.StreamOperation:
    """A write of ten tokens, for a session of its own."""
    return write(tag, f"s{tag}", tokens={"ids": [14] * 10}, outputs=outputs)


def sized(registry: Registry, operation: online_pb2.StreamOperation) -> int:
    """What the answer is reckoned to take at most."""
    decoded = decode_write(operation.write, max_text_bytes=1000, max_write_steps=100)
    return OutputSizes(registry, max_bytes=MAX_BYTES).write_bytes(decoded)


async def test_large_answers_under_way_are_bounded(registry: Registry) -> None:
    """One short message cannot have the server compute more of them than fit, however many operations it has; each that
    the connection takes lets the next one in.
    """
    operations = [asking(tag, vector=True, steps=EVERY) for tag in range(12)]
    size = sized(registry, operations[0])
    async with streaming(registry, max_output_bytes_in_flight=3 * size) as (on, call):
        await call.write(request(*operations))
        await call.done_writing()
        tags: list[int] = []
        while len(tags) < 12:
            await on.engine.until_submitted(min(12, len(tags) + 3))
            assert len(on.engine.waiting) <= 3
            on.engine.answer(write_result())
            tags += [each.tag for each in (await received(call)).results]
        assert tags == list(range(12))


async def test_one_large_answer_is_always_under_way(registry: Registry) -> None:
    """Also one that is larger than all together may be; the next one waits for it."""
    async with streaming(registry, max_output_bytes_in_flight=1) as (on, call):
        await call.write(request(*(asking(tag, activations=True) for tag in range(3))))
        for tag in range(3):
            await on.engine.until_submitted(tag + 1)
            assert len(on.engine.waiting) == 1
            on.engine.answer(write_result())
            assert [each.tag for each in (await received(call)).results] == [tag]


async def test_suggestions_of_a_whole_vocabulary_are_bounded_too(registry: Registry) -> None:
    """Two of ten thousand words fit into the bound, and the third waits."""
    suggestions = [
        ONLINE.StreamOperation(tag=tag, suggest={"session_id": f"s{tag}", "text": "a", "k": 10_000})
        for tag in range(3)
    ]
    async with streaming(registry, max_output_bytes_in_flight=700_000) as (on, call):
        await call.write(request(*suggestions))
        await on.engine.until_submitted(1)
        assert on.engine.batches == [2]
        on.engine.answer(write_result(), write_result())
        await on.engine.until_submitted(3)


async def test_small_answers_wait_for_nothing(registry: Registry) -> None:
    """What asks for nothing, for scores or for a few of the best goes to the engine at once, beside a large answer."""
    asked: list[dict[str, Any]] = [{}, {"k": 3}, {"k": 64, "scores": True}]
    suggestion = ONLINE.StreamOperation(tag=9, suggest={"session_id": "t", "text": "a", "k": 64})
    operations = [asking(0, vector=True), *(asking(1 + tag, **each) for tag, each in enumerate(asked))]
    async with streaming(registry, max_output_bytes_in_flight=1) as (on, call):
        await call.write(request(*operations, suggestion))
        await on.engine.until_submitted(1)
        assert on.engine.batches == [5]


async def test_answers_of_many_suggestions_are_told_in_messages_of_bounded_size(registry: Registry) -> None:
    """What one tick finishes leaves in as many messages as it takes: one that is too large would end the stream."""
    words = tuple(Suggestion(text=f"word{number:06}", log_probability=-1.0) for number in range(10_000))

    def play(ticket: Ticket) -> SuggestResult:
        return SuggestResult(ticket.operation.session_id, STATE, TIMING, words, "", False, 1)

    async with streaming(registry) as (on, call):
        on.engine.play = play
        suggestions = (ONLINE.StreamOperation(tag=tag, suggest={"text": "a"}) for tag in range(30))
        await call.write(request(*suggestions))
        told, largest_bytes = 0, 0
        while told < 30:
            message = await received(call)
            told += len(message.results)
            largest_bytes = max(largest_bytes, message.ByteSize())
        assert largest_bytes < 1.25 * 2**20


@pytest.mark.parametrize(
    "outputs",
    [
        {"k": 65},
        {"k": 100, "steps": EVERY},
        {"vector": True},
        {"vector": True, "steps": EVERY},
        {"hidden": True, "k": 3, "steps": EVERY},
        {"activations": True},
    ],
    ids=lambda outputs: "-".join(outputs),
)
def test_an_answer_takes_no_more_than_was_reckoned(registry: Registry, outputs: dict[str, Any]) -> None:
    """Whichever of the models its session runs on."""
    asked = asking(1, **outputs)
    decoded = decode_write(asked.write, max_text_bytes=1000, max_write_steps=100)
    assert type(decoded.outputs) is LargeOutputs
    widest = max(model.network.head.size for model in registry.models if model.network.head is not None)
    hidden = max(model.network.spec.recurrent.output_size for model in registry.models)
    step = step_output(outputs.get("k", 0))
    step = StepOutput(
        position=3,
        best_ids=step.best_ids,
        best_log_probabilities=step.best_log_probabilities,
        best_texts=step.best_texts,
        vector=np.zeros(widest, np.float32) if outputs.get("vector") else None,
        hidden=np.zeros(hidden, np.float32) if outputs.get("hidden") else None,
    )
    steps = (step,) * (10 if "steps" in outputs else 1)
    answer = WriteResult(session_id="s", state=STATE, timing=TIMING, steps=steps)
    assert weight_bytes(answer) - 128 <= sized(registry, asked) <= MAX_BYTES


def test_the_same_outputs_are_asked_for_whatever_their_size(registry: Registry) -> None:
    """Sessions look up how they answer by what is asked, and tell repeated writes by it."""
    decoded = decode_write(asking(1, vector=True, k=5).write, max_text_bytes=1000, max_write_steps=100)
    plain = OutputRequest(k=5, vector=True)
    assert decoded.outputs == plain
    assert hash(decoded.outputs) == hash(plain)


def test_models_that_come_and_those_that_leave_count(tmp_path: Path) -> None:
    """A wider model is reckoned with from when it is served until no session runs on it any more."""
    write_tiny_features(tmp_path / "motion" / "1")
    write_tiny_keyboard(tmp_path / "keyboard" / "1")
    both = Registry.load([tmp_path], embedded=None)
    keyboard, motion = both.get("keyboard"), both.get("motion")
    registry = Registry([motion])
    sizes = OutputSizes(registry, max_bytes=MAX_BYTES)
    asked = decode_write(asking(1, vector=True).write, max_text_bytes=1000, max_write_steps=100)
    narrow = sizes.write_bytes(asked)
    registry.put(keyboard)
    wide = sizes.write_bytes(asked)
    registry.retire(keyboard.key)
    leaving = sizes.write_bytes(asked)
    registry.has_left(keyboard)
    assert narrow < wide == leaving
    assert sizes.write_bytes(asked) == narrow
