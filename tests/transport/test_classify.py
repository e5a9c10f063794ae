"""OfflineService: results with their ids, bad documents alone, and memory that a slow reader cannot fill."""

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest
from gatehouse.v1 import offline_pb2, offline_pb2_grpc
from gatehouse_server.models.registry import Registry
from gatehouse_server.transport.document_services import DocumentLimits

from tests.transport.slow_reader import SMALL_BUFFERS, sent_before_reading, small_documents
from tests.transport.stage import Stage, fields_of, reason_of, scores_for, stage, status_of

# The stubs do not know that a dictionary can stand for a submessage.
OFFLINE: Any = offline_pb2

TEXT = "we study the star galaxy"


def document(document_id: str, **content: Any) -> offline_pb2.Document:
    """A whole document of five tokens, unless content is given."""
    made: offline_pb2.Document = OFFLINE.Document(document_id=document_id, **(content or {"text": TEXT}))
    return made


def request(*documents: offline_pb2.Document, **fields: Any) -> offline_pb2.ClassifyStreamRequest:
    """A message of a stream."""
    made: offline_pb2.ClassifyStreamRequest = OFFLINE.ClassifyStreamRequest(
        documents=documents, **{"model": "topics", **fields}
    )
    return made


async def streamed(
    on: Stage, *requests: offline_pb2.ClassifyStreamRequest
) -> list[offline_pb2.DocumentResult]:
    """All results of a stream of these messages."""
    call = offline_pb2_grpc.OfflineServiceStub(on.channel).ClassifyStream(iter(requests))
    return [result async for response in call for result in response.results]


async def test_classify_answers_in_the_order_of_the_documents(registry: Registry) -> None:
    """Whatever finishes first; labels come best first with their scores."""
    async with stage(registry) as on:
        stub = offline_pb2_grpc.OfflineServiceStub(on.channel)
        calling = asyncio.ensure_future(
            stub.Classify(OFFLINE.ClassifyRequest(model="topics", documents=[document("a"), document("b")]))
        )
        await on.engine.until_submitted(2)
        on.engine.waiting.reverse()
        on.engine.answer(scores_for(on.engine.waiting[0]))
        on.engine.answer(scores_for(on.engine.waiting[0]))
        response = await calling
    assert [each.document_id for each in response.results] == ["a", "b"]
    first = response.results[0]
    assert [each.label for each in first.scores] == ["math", "astro", "bio"]
    assert first.scores[0].score == pytest.approx(0.7)
    assert (first.step_count, first.truncated) == (5, False)
    assert first.timing.compute.nanos == 2_000_000


async def test_k_bounds_the_labels_and_more_than_there_are_is_refused(registry: Registry) -> None:
    """One label where one is asked; 0, negative and more than there are name the field."""
    async with stage(registry, play=scores_for) as on:
        stub = offline_pb2_grpc.OfflineServiceStub(on.channel)
        one = OFFLINE.ClassifyRequest(model="topics", documents=[document("a")], options={"k": 1})
        assert [each.label for each in (await stub.Classify(one)).results[0].scores] == ["math"]
        for k in (0, -1, 4):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.Classify(
                    OFFLINE.ClassifyRequest(model="topics", documents=[document("a")], options={"k": k})
                )
            status = status_of(caught.value)
            assert (reason_of(status), fields_of(status)) == ("K_OUT_OF_RANGE", ["options.k"])


@pytest.mark.parametrize(
    ("model", "code", "reason"),
    [
        ("", grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT"),
        ("nobody", grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND"),
        ("topics@7", grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND"),
        ("broken", grpc.StatusCode.FAILED_PRECONDITION, "MODEL_FAILED"),
    ],
)
async def test_a_model_that_is_not_there_is_refused(
    registry: Registry, model: str, code: grpc.StatusCode, reason: str
) -> None:
    """As the status of the call, of both kinds of calls."""
    async with stage(registry) as on:
        stub = offline_pb2_grpc.OfflineServiceStub(on.channel)
        with pytest.raises(grpc.aio.AioRpcError) as unary:
            await stub.Classify(OFFLINE.ClassifyRequest(model=model, documents=[document("a")]))
        with pytest.raises(grpc.aio.AioRpcError) as stream:
            await streamed(on, request(document("a"), model=model))
    for caught in (unary, stream):
        assert caught.value.code() is code
        assert reason_of(status_of(caught.value)) == reason


async def test_classify_takes_whole_documents_and_at_least_one(registry: Registry) -> None:
    """Parts belong into a stream; no documents are no question."""
    async with stage(registry, play=scores_for) as on:
        stub = offline_pb2_grpc.OfflineServiceStub(on.channel)
        for documents, field in (
            ([], "documents"),
            ([document("a", text="x", more=True)], "documents[0].more"),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.Classify(OFFLINE.ClassifyRequest(model="topics", documents=documents))
            assert fields_of(status_of(caught.value)) == [field]


async def test_more_documents_than_may_be_in_flight_are_classified_in_turn(registry: Registry) -> None:
    """A large unary call does not flood the engine."""
    documents = [document(str(number)) for number in range(10)]
    async with stage(registry, document_limits=DocumentLimits(max_in_flight=4)) as on:
        stub = offline_pb2_grpc.OfflineServiceStub(on.channel)
        calling = asyncio.ensure_future(
            stub.Classify(OFFLINE.ClassifyRequest(model="topics", documents=documents))
        )
        for finished in range(10):
            await on.engine.until_submitted(min(10, finished + 4))
            assert len(on.engine.waiting) <= 4
            on.engine.answer(scores_for(on.engine.waiting[0]))
        assert [each.document_id for each in (await calling).results] == [str(number) for number in range(10)]


async def test_bad_documents_fail_alone(registry: Registry) -> None:
    """Each has its own status with the field; the others have scores."""
    bad = {
        "empty": (document("empty", text=""), "EMPTY_INPUT", "documents[1].text"),
        "blank": (document("blank", text="  "), "EMPTY_INPUT", "documents[2].text"),
        "range": (
            document("range", tokens={"ids": [1, 99]}),
            "TOKEN_OUT_OF_RANGE",
            "documents[3].tokens.ids[1]",
        ),
        "negative": (
            document("negative", tokens={"ids": [-1]}),
            "TOKEN_OUT_OF_RANGE",
            "documents[4].tokens.ids[0]",
        ),
        "kind": (
            document("kind", features={"width": 1, "values": b"\0\0\0\0"}),
            "WRONG_INPUT_KIND",
            "documents[5].features",
        ),
    }
    async with stage(registry, play=scores_for) as on:
        results = await streamed(
            on, request(document("good"), *(each[0] for each in bad.values()), document("also good"))
        )
    by_id = {result.document_id: result for result in results}
    assert len(results) == len(by_id) == len(bad) + 2
    for name, (_, reason, field) in bad.items():
        assert (reason_of(by_id[name].status), fields_of(by_id[name].status)) == (reason, [field])
    for name in ("good", "also good"):
        assert not by_id[name].HasField("status")


async def test_an_id_in_flight_cannot_be_used_again_until_it_is_answered(registry: Registry) -> None:
    """The second document of an id fails, the first goes on; afterwards the id is free."""
    async with stage(registry) as on:
        call: Any = offline_pb2_grpc.OfflineServiceStub(on.channel).ClassifyStream()
        await call.write(request(document("a")))
        await on.engine.until_submitted(1)
        await call.write(request(document("a"), model=""))
        refused = await call.read()
        assert reason_of(refused.results[0].status) == "DUPLICATE_DOCUMENT_ID"
        on.engine.answer(scores_for(on.engine.waiting[0]))
        assert not (await call.read()).results[0].HasField("status")
        await call.write(request(document("a"), model=""))
        await on.engine.until_submitted(2)
        call.cancel()


async def test_too_long_a_document_is_refused_or_cut(registry: Registry) -> None:
    """By steps: refused with the limit, or cut there and marked, as the stream asks."""
    limits = DocumentLimits(max_document_steps=3)
    async with stage(registry, play=scores_for, document_limits=limits) as on:
        refused = (await streamed(on, request(document("a"))))[0]
        cut = (await streamed(on, request(document("a"), options={"truncate": True})))[0]
    assert reason_of(refused.status) == "DOCUMENT_TOO_LONG"
    assert (cut.step_count, cut.truncated) == (3, True)


async def test_a_document_in_parts_is_one_document(registry: Registry) -> None:
    """Over several messages; one result."""
    async with stage(registry, play=scores_for) as on:
        results = await streamed(
            on,
            request(document("a", text="we stu", more=True)),
            request(document("a", text="dy the ", part=1, more=True), model=""),
            request(document("a", text="star", part=2), document("b"), model=""),
        )
    assert [(each.document_id, each.step_count) for each in results] == [("a", 4), ("b", 5)]


async def test_another_model_within_a_stream_fails_its_documents(registry: Registry) -> None:
    """The stream goes on with its own model."""
    async with stage(registry, play=scores_for) as on:
        results = await streamed(
            on,
            request(document("a")),
            request(document("b"), model="keyboard"),
            request(document("c"), model=""),
        )
    failed = {each.document_id for each in results if each.HasField("status")}
    assert failed == {"b"}


@pytest.mark.parametrize("more", [True, False])
async def test_a_part_with_another_model_fails_its_document_alone(registry: Registry, more: bool) -> None:
    """Once, whatever follows of it; the documents after it are read."""
    parts = [document("a", text=TEXT, part=number, more=number == 0 or more) for number in (0, 1)]
    rest = [document("a", text=TEXT, part=2)] if more else []
    async with stage(registry, play=scores_for) as on:
        results = await streamed(
            on,
            request(parts[0]),
            request(parts[1], model="keyboard"),
            request(*rest, document("b"), document("c")),
        )
    assert sorted((each.document_id, each.HasField("status")) for each in results) == [
        ("a", True),
        ("b", False),
        ("c", False),
    ]


async def test_a_leaving_server_answers_what_it_has_read(registry: Registry) -> None:
    """Documents in flight are answered; then the stream ends with UNAVAILABLE."""
    async with stage(registry) as on:
        call: Any = offline_pb2_grpc.OfflineServiceStub(on.channel).ClassifyStream()
        await call.write(request(document("a")))
        await on.engine.until_submitted(1)
        on.departure.begin()
        on.engine.answer(scores_for(on.engine.waiting[0]))
        assert (await call.read()).results[0].document_id == "a"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_stream_that_has_said_nothing_does_not_hold_up_a_leaving_server(registry: Registry) -> None:
    """It ends with UNAVAILABLE at once."""
    async with stage(registry) as on:
        call: Any = offline_pb2_grpc.OfflineServiceStub(on.channel).ClassifyStream()
        await call.wait_for_connection()
        reading = asyncio.ensure_future(call.read())
        on.departure.begin()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await reading
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("k", [1, None], ids=["one label", "all labels"])
async def test_a_reader_that_stops_stops_the_sender_within_1000_documents(
    registry: Registry, k: int | None
) -> None:
    """With nobody reading results, writing blocks below 1,000 documents of 1 KB; read again, all get through."""
    total = 3000
    async with stage(registry, play=scores_for, channel_options=SMALL_BUFFERS) as on:
        call: Any = offline_pb2_grpc.OfflineServiceStub(on.channel).ClassifyStream()
        messages = (request(*documents, options={"k": k or 3}) for documents in small_documents(total))
        sent, ids = await sent_before_reading(call, messages)
    assert sent < 1000
    assert len(ids) == len(set(ids)) == total
