"""OfflineService.Transduce: what is asked reaches the engine, its answers come back in words, and bad calls fail."""

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest
from gatehouse.v1 import offline_pb2, offline_pb2_grpc
from gatehouse_server.engine.documents import DocumentTask
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.engine.transduction import Hypothesis, Transduction, TransductionWants
from gatehouse_server.errors import InvalidInput
from gatehouse_server.models.model import key_of_content
from gatehouse_server.models.registry import Registry
from gatehouse_server.transport.document_services import DocumentLimits

from tests.transport.slow_reader import SMALL_BUFFERS, sent_before_reading, small_documents
from tests.transport.stage import Stage, fields_of, reason_of, scores_for, stage, status_of

# The stubs do not know that a dictionary can stand for a submessage.
OFFLINE: Any = offline_pb2


def document(document_id: str, **content: Any) -> offline_pb2.Document:
    """A whole document of three tokens, unless content is given."""
    made: offline_pb2.Document = OFFLINE.Document(
        document_id=document_id, **(content or {"text": "the star group"})
    )
    return made


def request(*documents: offline_pb2.Document, **fields: Any) -> offline_pb2.TransduceRequest:
    """A message of a stream."""
    made: offline_pb2.TransduceRequest = OFFLINE.TransduceRequest(
        documents=documents, **{"model": "short", **fields}
    )
    return made


def written(ticket: Ticket) -> Transduction:
    """What the offline lane might answer: `abc`, which ended, and `h`, which did not."""
    return Transduction(
        hypotheses=(
            Hypothesis(token_ids=(3, 4, 5), log_probability=-1.5, score=-1.25, ended=True),
            Hypothesis(token_ids=(10,), log_probability=-3.0, score=-2.75, ended=False),
        ),
        step_count=len(ticket.operation.inputs),
        queue_seconds=0.001,
        compute_seconds=0.002,
    )


async def streamed(on: Stage, *requests: offline_pb2.TransduceRequest) -> list[offline_pb2.TransduceResult]:
    """All results of a stream of these messages."""
    call = offline_pb2_grpc.OfflineServiceStub(on.channel).Transduce(iter(requests))
    return [result async for response in call for result in response.results]


async def test_outputs_come_with_their_texts(registry: Registry) -> None:
    """Best first, each with its tokens, log-probability, score, and whether it ended."""
    async with stage(registry, play=written) as on:
        results = await streamed(on, request(document("a"), document("b")))
    assert [each.document_id for each in results] == ["a", "b"]
    first, second = results[0].hypotheses
    assert (first.text, list(first.token_ids), first.ended) == ("abc", [3, 4, 5], True)
    assert (first.log_probability, first.score) == (-1.5, -1.25)
    assert (second.text, second.ended) == ("h", False)
    assert (results[0].step_count, results[0].truncated) == (3, False)
    assert results[0].timing.compute.nanos == 2_000_000


@pytest.mark.parametrize(
    ("options", "wants"),
    [
        ({}, TransductionWants(max_output_steps=512)),
        (
            {"beam_size": 4, "alternatives": 4, "length_penalty": 0.5, "max_output_steps": 7},
            TransductionWants(beam_size=4, alternatives=4, length_penalty=0.5, max_output_steps=7),
        ),
    ],
)
async def test_what_is_asked_reaches_the_engine(
    registry: Registry, options: dict[str, Any], wants: TransductionWants
) -> None:
    """Without options the likeliest token is taken each time, up to the server's limit."""
    async with stage(registry) as on:
        streaming = asyncio.ensure_future(streamed(on, request(document("a"), options=options)))
        await on.engine.until_submitted(1)
        (ticket,) = on.engine.waiting
        on.engine.answer(written(ticket))
        await streaming
    assert isinstance(ticket.operation, DocumentTask)
    assert (key_of_content(ticket.operation.model_key), ticket.operation.wants) == ("short@1", wants)


@pytest.mark.parametrize(
    ("options", "field", "told"),
    [
        ({"beam_size": 0}, "beam_size", "expected 1 to 8, got 0"),
        ({"beam_size": -3}, "beam_size", "expected 1 to 8, got -3"),
        ({"beam_size": 2**31 - 1}, "beam_size", "expected 1 to 8, got 2147483647"),
        ({"alternatives": 2}, "alternatives", "expected 1 to 1, the beam's size, got 2"),
        ({"beam_size": 3, "alternatives": 4}, "alternatives", "expected 1 to 3, the beam's size, got 4"),
        ({"beam_size": 3, "alternatives": 0}, "alternatives", "expected 1 to 3, the beam's size, got 0"),
        ({"max_output_steps": 0}, "max_output_steps", "expected 1 to 20, got 0"),
        ({"max_output_steps": 21}, "max_output_steps", "expected 1 to 20, got 21"),
        ({"length_penalty": -0.5}, "length_penalty", "expected 0 to 100, got -0.5"),
        ({"length_penalty": float("nan")}, "length_penalty", "expected 0 to 100, got nan"),
        ({"length_penalty": float("inf")}, "length_penalty", "expected 0 to 100, got inf"),
    ],
)
async def test_options_out_of_range_end_the_call(
    registry: Registry, options: dict[str, Any], field: str, told: str
) -> None:
    """One line names the field, the range and what was given."""
    limits = DocumentLimits(max_beam_size=8, max_output_steps=20)
    async with stage(registry, document_limits=limits) as on:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await streamed(on, request(document("a"), options=options))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert fields_of(status_of(caught.value)) == [f"options.{field}"]
    assert told in (caught.value.details() or "")


@pytest.mark.parametrize(("model", "kind"), [("topics", "classifier"), ("keyboard", "language model")])
async def test_a_model_that_is_no_transducer_is_refused(registry: Registry, model: str, kind: str) -> None:
    """With the call that it does take."""
    async with stage(registry) as on:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await streamed(on, request(document("a"), model=model))
    assert reason_of(status_of(caught.value)) == "WRONG_MODEL_KIND"
    assert f"expected a transducer, and {model}@1 is a {kind}: send its documents to Classify" in str(
        caught.value.details()
    )


async def test_a_transducer_is_refused_where_documents_are_classified(registry: Registry) -> None:
    """By both calls, with the one that it does take."""
    async with stage(registry) as on:
        stub = offline_pb2_grpc.OfflineServiceStub(on.channel)
        with pytest.raises(grpc.aio.AioRpcError) as unary:
            await stub.Classify(OFFLINE.ClassifyRequest(model="short", documents=[document("a")]))
        request = OFFLINE.ClassifyStreamRequest(model="short", documents=[document("a")])
        call: Any = stub.ClassifyStream(iter([request]))
        with pytest.raises(grpc.aio.AioRpcError) as stream:
            await call.read()
    for caught in (unary, stream):
        assert reason_of(status_of(caught.value)) == "WRONG_MODEL_KIND"
        assert "Transduce" in (caught.value.details() or "")


@pytest.mark.parametrize(
    ("model", "code"),
    [("", grpc.StatusCode.INVALID_ARGUMENT), ("nobody", grpc.StatusCode.NOT_FOUND)],
)
async def test_a_model_that_is_not_there_is_refused(
    registry: Registry, model: str, code: grpc.StatusCode
) -> None:
    """As by the other calls."""
    async with stage(registry) as on:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await streamed(on, request(document("a"), model=model))
    assert caught.value.code() is code


async def test_bad_documents_fail_alone(registry: Registry) -> None:
    """Each has its own status with the field; so has one that the engine answers with a failure."""

    def play(ticket: Ticket) -> object:
        if len(ticket.operation.inputs) == 2:
            return InvalidInput("what is written is not finite", reason="STATE_NOT_FINITE")
        return written(ticket)

    bad = {
        "empty": (document("empty", text=""), "EMPTY_INPUT", ["documents[1].text"]),
        "range": (
            document("range", tokens={"ids": [99]}),
            "TOKEN_OUT_OF_RANGE",
            ["documents[2].tokens.ids[0]"],
        ),
        "kind": (
            document("kind", features={"width": 1, "values": b"\0\0\0\0"}),
            "WRONG_INPUT_KIND",
            ["documents[3].features"],
        ),
        "long": (document("long", text="star " * 6), "DOCUMENT_TOO_LONG", ["documents[4].text"]),
        "infinite": (document("infinite", text="star group"), "STATE_NOT_FINITE", []),
    }
    async with stage(registry, play=play, document_limits=DocumentLimits(max_document_steps=5)) as on:
        results = await streamed(
            on, request(document("good"), *(each[0] for each in bad.values()), document("also good"))
        )
    by_id = {result.document_id: result for result in results}
    assert len(results) == len(by_id) == len(bad) + 2
    for name, (_, reason, fields) in bad.items():
        assert (reason_of(by_id[name].status), fields_of(by_id[name].status)) == (reason, fields)
        assert not by_id[name].hypotheses
    for name in ("good", "also good"):
        assert not by_id[name].HasField("status")


async def test_a_document_in_parts_may_be_cut(registry: Registry) -> None:
    """Parts are joined as everywhere, and cut at the limit where that is asked for."""
    limits = DocumentLimits(max_document_steps=2)
    async with stage(registry, play=written, document_limits=limits) as on:
        (result,) = await streamed(
            on,
            request(document("a", text="the st", more=True), options={"truncate": True}),
            request(document("a", text="ar group", part=1), model=""),
        )
    assert (result.step_count, result.truncated) == (2, True)


async def test_an_engine_that_answers_something_else_costs_the_document_alone(registry: Registry) -> None:
    """Scores are no outputs: the result says that something broke, without saying what."""
    async with stage(registry, play=scores_for) as on:
        (result,) = await streamed(on, request(document("a")))
    assert result.status.code == grpc.StatusCode.INTERNAL.value[0]


async def test_a_leaving_server_answers_what_it_has_read(registry: Registry) -> None:
    """Documents in flight are answered; then the stream ends with UNAVAILABLE."""
    async with stage(registry) as on:
        call: Any = offline_pb2_grpc.OfflineServiceStub(on.channel).Transduce()
        await call.write(request(document("a")))
        await on.engine.until_submitted(1)
        on.departure.begin()
        on.engine.answer(written(on.engine.waiting[0]))
        assert (await call.read()).results[0].document_id == "a"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_reader_that_stops_stops_the_sender(registry: Registry) -> None:
    """With nobody reading results, writing blocks below 1,000 documents of 1 KB; read again, all get through."""
    total = 2000
    async with stage(registry, play=written, channel_options=SMALL_BUFFERS) as on:
        call: Any = offline_pb2_grpc.OfflineServiceStub(on.channel).Transduce()
        sent, ids = await sent_before_reading(call, (request(*each) for each in small_documents(total)))
    assert sent < 1000
    assert len(ids) == len(set(ids)) == total
