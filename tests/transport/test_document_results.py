"""OfflineService: results with an entry for each step, however many, in bounded memory and beside everybody else."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gatehouse.v1 import offline_pb2, offline_pb2_grpc, online_pb2
from gatehouse_server.engine.documents import DocumentScores, DocumentSteps
from gatehouse_server.engine.observer import Happening
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.models.registry import Registry
from gatehouse_server.transport.document_flow import DocumentFlow
from gatehouse_server.transport.document_form import form_of
from gatehouse_server.transport.document_services import DocumentLimits
from gatehouse_server.transport.documents import DocumentEncoder
from gatehouse_server.transport.status import CODE_NAMES

from tests.tiny_documents import write_tiny_tagger
from tests.transport.stage import Stage, reason_of, stage

# The stubs do not know that a dictionary can stand for a submessage.
OFFLINE: Any = offline_pb2
EVERY = online_pb2.OUTPUT_STEPS_EVERY


@pytest.fixture(scope="module")
def taggers(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """One tagger."""
    root: Path = tmp_path_factory.mktemp("models")
    write_tiny_tagger(root / "tagger" / "1")
    return Registry.load([root], embedded=None)


def document(document_id: str, steps: int = 5) -> offline_pb2.Document:
    """A document of so many tokens."""
    made: offline_pb2.Document = OFFLINE.Document(
        document_id=document_id, tokens={"ids": [number % 7 for number in range(steps)]}
    )
    return made


def tags_for(ticket: Ticket) -> DocumentScores:
    """What the offline lane might answer: the label of a step is its token's number modulo 3."""
    task = ticket.operation
    labels = task.inputs[:, None] % 3
    hidden = np.repeat(task.inputs[:, None].astype(np.float32), 32, axis=1)
    return DocumentScores(
        steps=DocumentSteps(
            best_ids=labels[:, : task.wants.best],
            best_values=np.full((len(labels), min(1, task.wants.best)), 0.5, dtype=np.float32),
            hidden=hidden if task.wants.hidden else None,
        ),
        step_count=len(task.inputs),
        queue_seconds=0.001,
        compute_seconds=0.002,
    )


def request(*documents: offline_pb2.Document, **options: Any) -> offline_pb2.ClassifyStreamRequest:
    """A message of a stream that asks for one label of each step."""
    made: offline_pb2.ClassifyStreamRequest = OFFLINE.ClassifyStreamRequest(
        model="tagger", documents=documents, options={"steps": EVERY, "k": 1, **options}
    )
    return made


def check(result: offline_pb2.DocumentResult, steps: int) -> None:
    """Every step is told, in its place."""
    assert [step.token_id for step in result.steps] == [number % 7 for number in range(steps)]
    assert [step.scores[0].label for step in result.steps] == [
        ("astro", "math", "bio")[number % 7 % 3] for number in range(steps)
    ]


async def classified(on: Stage, *documents: offline_pb2.Document) -> list[offline_pb2.DocumentResult]:
    """The results of a unary call."""
    stub = offline_pb2_grpc.OfflineServiceStub(on.channel)
    asked = request(*documents)
    response = await stub.Classify(
        OFFLINE.ClassifyRequest(model="tagger", documents=documents, options=asked.options)
    )
    return list(response.results)


@pytest.mark.parametrize("steps", [1, 256, 257, 5000])
async def test_every_step_is_told_in_its_order(taggers: Registry, steps: int) -> None:
    """Of few steps and of many, of a unary call and of a stream."""
    async with stage(taggers, play=tags_for) as on:
        for result in await classified(on, document("a", steps), document("b", 3), document("c", steps)):
            check(result, 3 if result.document_id == "b" else steps)
        call = offline_pb2_grpc.OfflineServiceStub(on.channel).ClassifyStream(
            iter([request(document("a", steps), document("b", 3), document("c", steps))])
        )
        results = {result.document_id: result async for response in call for result in response.results}
    assert sorted(results) == ["a", "b", "c"]
    for name, result in results.items():
        check(result, 3 if name == "b" else steps)


async def test_many_steps_are_told_while_the_event_loop_does_other_things(taggers: Registry) -> None:
    """Between two parts of a large result, and between two results, everybody else has a turn."""
    turns = 0
    async with stage(taggers) as on:

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        calling = asyncio.ensure_future(classified(on, *(document(str(number), 2560) for number in range(8))))
        await on.engine.until_submitted(8)
        counting = asyncio.ensure_future(count())
        on.engine.answer(*map(tags_for, on.engine.waiting))
        results = await calling
        counting.cancel()
    assert [len(result.steps) for result in results] == [2560] * 8
    assert turns >= 8 * 10


async def test_a_caller_that_leaves_ends_what_was_being_told(taggers: Registry) -> None:
    """The rest of a large result is not put into words, and it is counted as dropped."""
    async with stage(taggers) as on:
        call: Any = offline_pb2_grpc.OfflineServiceStub(on.channel).ClassifyStream()
        await call.write(request(*(document(str(number), 60_000) for number in range(3))))
        await on.engine.until_submitted(3)
        on.engine.answer(*map(tags_for, on.engine.waiting))
        call.cancel()
        await on.happenings.until(Happening.DROPPED_CANCELLED, 3)


async def test_a_caller_that_leaves_before_anything_was_told_has_all_of_it_counted(
    taggers: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large results that were not begun are dropped and counted as those half told."""
    flows: list[Any] = []
    begin = DocumentFlow.__init__

    def noted(self: Any, *args: Any, **kwargs: Any) -> None:
        flows.append(self)
        begin(self, *args, **kwargs)

    monkeypatch.setattr(DocumentFlow, "__init__", noted)
    async with stage(taggers) as on:
        call: Any = offline_pb2_grpc.OfflineServiceStub(on.channel).ClassifyStream()
        await call.write(request(*(document(str(number), 1000) for number in range(3))))
        await on.engine.until_submitted(3)
        on.engine.answer(*map(tags_for, on.engine.waiting))
        (flow,) = flows
        flow.leave()
        async with asyncio.timeout(20):
            await on.happenings.until(Happening.DROPPED_CANCELLED, 3)
        assert flow.unanswered == 0
        call.cancel()


@pytest.mark.parametrize(
    ("leaves", "counted"), [(True, {}), (False, {"DEADLINE_EXCEEDED": 3})], ids=["cancelled", "too slow"]
)
async def test_who_leaves_before_documents_are_read_has_caused_no_failure(
    taggers: Registry, monkeypatch: pytest.MonkeyPatch, leaves: bool, counted: dict[str, int]
) -> None:
    """They are dropped work, and count as failures of the server's only if their time was up."""
    reading = asyncio.Event()

    async def without_end(*_: object) -> None:
        reading.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(DocumentEncoder, "encode_aside", without_end)
    async with stage(taggers) as on:
        call: Any = offline_pb2_grpc.OfflineServiceStub(on.channel).Classify(
            OFFLINE.ClassifyRequest(model="tagger", documents=[document(name) for name in "abc"]),
            timeout=None if leaves else 0.1,
        )
        await reading.wait()
        if leaves:
            call.cancel()
        async with asyncio.timeout(20):
            await on.happenings.until(Happening.DROPPED_CANCELLED, 3)
            while on.metrics.requests.in_flight:  # noqa: ASYNC110 - the end of a call sets no event
                await asyncio.sleep(0.001)
        codes = {
            code: on.metrics.registry.get_sample_value(
                "gatehouse_operations_total", {"operation": "document", "code": code}
            )
            for code in CODE_NAMES
        }
    assert {code: count for code, count in codes.items() if count} == counted


async def test_a_result_over_the_limit_is_refused_before_it_is_computed(taggers: Registry) -> None:
    """The document fails alone, and the engine never sees it."""
    limits = DocumentLimits(max_output_bytes=20_000)
    async with stage(taggers, play=tags_for, document_limits=limits) as on:
        large, small = await classified(on, document("large", 1000), document("small", 10))
        assert on.engine.submitted == 1
    assert reason_of(large.status) == "OUTPUTS_TOO_LARGE"
    check(small, 10)


async def test_results_of_a_unary_call_fit_into_one_message(taggers: Registry) -> None:
    """Documents whose results would not have a place in it any more fail alone."""
    async with stage(
        taggers, play=tags_for, channel_options=[("grpc.max_receive_message_length", 2**24)]
    ) as on:
        results = await classified(on, *(document(str(number), 50_000) for number in range(10)))
    failed = [result for result in results if result.HasField("status")]
    assert 0 < len(failed) < 10
    assert {reason_of(result.status) for result in failed} == {"OUTPUTS_TOO_LARGE"}
    assert sum(result.ByteSize() for result in results) < 2**24


async def test_large_results_in_flight_are_bounded(taggers: Registry) -> None:
    """The engine is given no more documents than may have their results in memory, whatever their number."""
    size = 60 * 1000
    limits = DocumentLimits(max_output_bytes_in_flight=3 * size)
    async with stage(taggers, document_limits=limits) as on:
        call: Any = offline_pb2_grpc.OfflineServiceStub(on.channel).ClassifyStream()
        await call.write(request(*(document(str(number), 1000) for number in range(12))))
        await call.done_writing()
        read = 0
        while read < 12:
            await on.engine.until_submitted(min(12, read + 3))
            assert len(on.engine.waiting) <= 4
            on.engine.answer(tags_for(on.engine.waiting[0]))
            message = await call.read()
            read += len(message.results)
            check(message.results[0], 1000)


@pytest.mark.parametrize(
    "options", [{"k": 1}, {"k": 1, "hidden": True}, {"k": 1, "hidden": True, "truncate": True}]
)
async def test_a_result_takes_no_more_than_was_reckoned(taggers: Registry, options: dict[str, Any]) -> None:
    """The bound by which results are refused, and memory is given out, holds."""
    asked = OFFLINE.ClassifyOptions(steps=EVERY, **options)
    form = form_of(taggers.get("tagger"), asked, max_output_bytes=2**20)
    long = OFFLINE.Document(document_id="x" * 256, text="the zebra " * 2000)
    async with stage(taggers, play=tags_for) as on:
        stub = offline_pb2_grpc.OfflineServiceStub(on.channel)
        response = await stub.Classify(
            OFFLINE.ClassifyRequest(model="tagger", documents=[long], options=asked)
        )
    (result,) = response.results
    assert len(result.steps) == 4000
    assert [result.steps[1].text_start, result.steps[1].text_end] == [4, 9]
    assert 0.5 * form.result_bytes(4000) < result.ByteSize() <= form.result_bytes(4000)
