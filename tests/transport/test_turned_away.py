"""A write of a stream that the engine has no room for: what follows it is answered by its session alone."""

from dataclasses import replace
from typing import Any

import pytest
from gatehouse.v1 import online_pb2
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.errors import GatehouseError, Overloaded
from gatehouse_server.models.registry import Registry
from gatehouse_server.sessions.results import WriteResult
from gatehouse_server.sessions.revisions import Revised, judge
from google.rpc import error_details_pb2

from tests.transport.stage import STATE, Stage, detail, reason_of, write_result
from tests.transport.streams import Call, received, request, streaming, write

FULL = Overloaded("full", reason="QUEUE_FULL", retry_after_seconds=0.1)


class Sessions:
    """Plays sessions of incarnation 1 that stand at revision 4, or where `revisions` says, as the rule of exactly once
    has it.
    """

    incarnation, position, refused, recent = 1, 3, False, ()

    def __init__(self) -> None:
        self.revisions: dict[str, int] = {}
        self.revision = 0

    def play(self, ticket: Ticket) -> WriteResult | GatehouseError:
        operation = ticket.operation
        self.revision = self.revisions.get(operation.session_id, 4)
        try:
            judge(self, Revised(operation.incarnation, operation.revision, b""))  # type: ignore[arg-type]
        except GatehouseError as error:
            return error
        self.revisions[operation.session_id] = operation.revision
        state = replace(STATE, revision=operation.revision)
        return replace(write_result(operation.session_id), state=state)


async def told(call: Call, *operations: online_pb2.StreamOperation) -> dict[int, online_pb2.StreamResult]:
    """The results of these operations, by tag."""
    await call.write(request(*operations))
    results: dict[int, online_pb2.StreamResult] = {}
    while len(results) < len(operations):
        results.update({each.tag: each for each in (await received(call)).results})
    return results


async def turn_away(on: Stage, call: Call, *revisions: int, **fields: Any) -> None:
    """Has writes of session `s` find the queue full, and then room again."""
    on.engine.refusal = FULL
    results = await told(
        call, *(write(-revision, revision=revision, incarnation=1, **fields) for revision in revisions)
    )
    assert [reason_of(each.status) for each in results.values()] == ["QUEUE_FULL"] * len(revisions)
    on.engine.refusal = None


async def test_what_follows_a_write_that_found_no_room_is_refused(registry: Registry) -> None:
    """A pipeline behind a full queue gets PRECEDING_WRITE_REFUSED and where its session stands, until the refused
    revision comes again; other sessions go on.
    """
    async with streaming(registry) as (on, call):
        on.engine.play = Sessions().play
        await turn_away(on, call, 5)
        results = await told(
            call,
            write(2, revision=6, incarnation=1),
            write(3, "other", revision=5, incarnation=1),
            write(4, revision=5, incarnation=1),
            write(5, revision=6, incarnation=1),
        )
        assert reason_of(results[2].status) == "PRECEDING_WRITE_REFUSED"
        assert "Send revision 5 next" in results[2].status.message
        facts = detail(results[2].status, error_details_pb2.ErrorInfo).metadata
        assert dict(facts) == {"incarnation": "1", "revision": "4", "position": "3"}
        assert [results[tag].HasField("status") for tag in (3, 4, 5)] == [False] * 3


async def test_a_malformed_write_that_found_no_room_is_remembered_like_others(registry: Registry) -> None:
    """What follows it is told that a write before it was refused, not that state was lost."""
    async with streaming(registry) as (on, call):
        on.engine.play = Sessions().play
        await turn_away(on, call, 5, tokens={})
        results = await told(call, write(2, revision=6, incarnation=1))
    assert reason_of(results[2].status) == "PRECEDING_WRITE_REFUSED"


async def test_a_pipeline_that_found_no_room_twice_is_told_where_to_begin_again(registry: Registry) -> None:
    """Of the writes that were turned away, the one that the session stands before counts, whichever has come since."""
    async with streaming(registry) as (on, call):
        on.engine.play = Sessions().play
        await turn_away(on, call, 5, 6)
        assert not (await told(call, write(1, revision=5, incarnation=1)))[1].HasField("status")
        refused = (await told(call, write(2, revision=7, incarnation=1)))[2].status
        assert reason_of(refused) == "PRECEDING_WRITE_REFUSED"
        assert "Send revision 6 next" in refused.message


@pytest.mark.parametrize("stands_at", [5, 9])
async def test_a_session_that_has_moved_by_another_way_takes_its_next_write(
    registry: Registry, stands_at: int
) -> None:
    """The write that was turned away never comes again on this stream, and holds up nothing."""
    async with streaming(registry) as (on, call):
        sessions = Sessions()
        on.engine.play = sessions.play
        await turn_away(on, call, 5)
        sessions.revisions["s"] = stands_at
        following = (write(number, revision=stands_at + number, incarnation=1) for number in (1, 2, 3))
        results = await told(call, *following)
        assert [each.HasField("status") for each in results.values()] == [False] * 3


async def test_a_session_that_has_lost_state_says_so_whatever_was_turned_away(registry: Registry) -> None:
    """A client replays after STATE_BEHIND, so it has to hear of it: also of a session that stands elsewhere."""
    async with streaming(registry) as (on, call):
        sessions = Sessions()
        on.engine.play = sessions.play
        await turn_away(on, call, 5)
        sessions.revisions["s"] = 3
        results = await told(
            call,
            write(1, revision=6, incarnation=1),
            write(2, "other", revision=6, incarnation=1),
            write(3, revision=6, incarnation=2),
        )
        assert [reason_of(each.status) for each in results.values()] == ["STATE_BEHIND"] * 3
