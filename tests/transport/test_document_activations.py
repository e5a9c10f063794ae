"""OfflineService: activations, whose size shows when they are there, in bounded memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from gatehouse.v1 import offline_pb2, offline_pb2_grpc
from gatehouse_server.engine.documents import DocumentScores
from gatehouse_server.engine.looking import LayerActivations
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.models.registry import Registry
from gatehouse_server.transport.document_services import DocumentLimits

from tests.transport.stage import reason_of, stage

# The stubs do not know that a dictionary can stand for a submessage.
OFFLINE: Any = offline_pb2


def document(document_id: str, steps: int) -> offline_pb2.Document:
    """A document of so many tokens."""
    made: offline_pb2.Document = OFFLINE.Document(document_id=document_id, tokens={"ids": [1] * steps})
    return made


def looks_for(ticket: Ticket) -> DocumentScores:
    """What the offline lane might answer of activations: a hundred values of each step."""
    steps = len(ticket.operation.inputs)
    values = {"hidden": np.zeros((steps, 100), dtype=np.float32)}
    return DocumentScores(
        activations=(LayerActivations(layer=0, reverse=False, values=values),),
        step_count=steps,
        queue_seconds=0.001,
        compute_seconds=0.002,
    )


async def test_activations_of_a_unary_call_fit_into_one_message(registry: Registry) -> None:
    """How large they are, shows when they are there: what has no place any more fails alone even then."""
    documents = [document(str(number), 5000 if number < 10 else 10) for number in range(12)]
    async with stage(
        registry, play=looks_for, channel_options=[("grpc.max_receive_message_length", 2**24)]
    ) as on:
        stub = offline_pb2_grpc.OfflineServiceStub(on.channel)
        asked = OFFLINE.ClassifyRequest(model="topics", documents=documents, options={"activations": True})
        results = (await stub.Classify(asked)).results
    failed = [result for result in results if result.HasField("status")]
    assert [result.document_id for result in failed] == ["7", "8", "9"]
    assert {reason_of(result.status) for result in failed} == {"OUTPUTS_TOO_LARGE"}
    told = [len(layer.activations[0].values) for result in results for layer in result.activations]
    assert told == [5000 * 400] * 7 + [10 * 400] * 2


async def test_activations_in_flight_are_bounded(registry: Registry) -> None:
    """Each document counts with the most that may be told of one."""
    limits = DocumentLimits(max_output_bytes=50_000, max_output_bytes_in_flight=170_000)
    async with stage(registry, document_limits=limits) as on:
        call: Any = offline_pb2_grpc.OfflineServiceStub(on.channel).ClassifyStream()
        await call.write(
            OFFLINE.ClassifyStreamRequest(
                model="topics",
                documents=[document(str(number), 100) for number in range(12)],
                options={"activations": True},
            )
        )
        await call.done_writing()
        read = 0
        while read < 12:
            await on.engine.until_submitted(min(12, read + 3))
            assert len(on.engine.waiting) <= 3
            on.engine.answer(looks_for(on.engine.waiting[0]))
            read += len((await call.read()).results)
