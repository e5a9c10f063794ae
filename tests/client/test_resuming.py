"""Sessions whose server goes away and comes back with less: over unary calls and over a stream, in both twins."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from gatehouse import aio, errors
from gatehouse.v1 import online_pb2, session_pb2

from tests.client import fake_model
from tests.client.fake_online import FakeOnline
from tests.client.fake_server import FakeServer
from tests.client.fake_status import refusal


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits before the next attempt."""
    monkeypatch.setattr("gatehouse.delivery.pauses", lambda: itertools.repeat(0.0))


@pytest.fixture
def online(server: FakeServer) -> FakeOnline:
    """The fake server's sessions, stored, with the last three writes not durable."""
    server.online.durability = session_pb2.DURABILITY_ASYNC
    server.online.lag_writes = 3
    return server.online


@pytest.fixture(params=["unary", "stream"])
def maker(request: pytest.FixtureRequest, client: Any) -> Iterator[Any]:
    """What makes sessions: the client, or a stream of it."""
    if request.param == "unary":
        yield client
        return
    with client.stream() as stream:
        yield stream


def _typed(maker: Any, online: FakeOnline, *tokens: int) -> Any:
    """A session with one write for each token; what had arrived until then is forgotten."""
    session = maker.session("keyboard")
    for token in tokens:
        session.append(tokens=[token])
    online.arrivals.clear()
    return session


def _tape(online: FakeOnline, session: Any) -> list[int]:
    return online.sessions[session.id].tape


def test_what_was_lost_is_replayed_in_order_and_seen_by_nobody(maker: Any, online: FakeOnline) -> None:
    """Three of five writes are lost: the next write is answered as if nothing had been, after the write that the
    server has was recognised and those three were made again, under the new incarnation.
    """
    session = _typed(maker, online, 2, 3, 4, 5, 6)
    online.kill(lost_writes=3)
    result = session.append(tokens=[7], k=1)
    assert (result.position, result.revision, result.state.incarnation) == (6, 6, 2)
    assert result.best[0].id == fake_model.best([2, 3, 4, 5, 6, 7], 1)[0][0]
    assert _tape(online, session) == [2, 3, 4, 5, 6, 7]
    assert online.arrivals == [(1, 6), (2, 2), (2, 3), (2, 4), (2, 5), (2, 6)]
    assert (session.resumptions.resumed, session.resumptions.replayed_writes) == (1, 3)


def test_nothing_is_replayed_when_nothing_was_lost(maker: Any, online: FakeOnline) -> None:
    """A new life with all writes: the last one is recognised, and the next goes on."""
    session = _typed(maker, online, 2, 3)
    online.kill()
    assert session.append(tokens=[4]).position == 3
    assert online.arrivals == [(1, 3), (2, 2), (2, 3)]
    assert (session.resumptions.resumed, session.resumptions.replayed_writes) == (1, 0)
    assert session.append(tokens=[5]).position == 4
    assert online.arrivals[3:] == [(2, 4)]


def test_rewinds_are_replayed_as_they_were(maker: Any, online: FakeOnline) -> None:
    """Lost writes that went back and replaced something leave the same tape when made again."""
    session = _typed(maker, online, 2, 3, 4)
    session.write(at=1, tokens=[5, 6], scores=True)
    session.rewind(to=2)
    online.kill(lost_writes=3)
    assert session.append(tokens=[7]).position == 3
    assert _tape(online, session) == [2, 5, 7]


def test_a_crash_in_the_middle_of_a_write_is_a_pause(maker: Any, online: FakeOnline) -> None:
    """The server dies after it applied the write and before it answered; the write and the one before are lost."""
    session = _typed(maker, online, 2, 3)
    online.crashes = [(3, 2)]
    result = session.append(tokens=[4])
    assert (result.position, result.repeated) == (3, False)
    assert _tape(online, session) == [2, 3, 4]
    assert session.resumptions.interruptions == 1


def test_a_write_that_outlived_the_crash_is_not_applied_again(maker: Any, online: FakeOnline) -> None:
    """The server dies after it stored the write and before it answered: its answer is given again."""
    session = _typed(maker, online, 2, 3)
    online.crashes = [(3, 0)]
    result = session.append(tokens=[4])
    assert (result.position, result.repeated) == (3, True)
    assert _tape(online, session) == [2, 3, 4]
    assert online.arrivals == [(1, 3), (1, 3), (2, 3)]
    assert session.append(tokens=[5]).position == 4


def test_a_second_crash_in_the_middle_of_the_replay(maker: Any, online: FakeOnline) -> None:
    """The server dies again after two of three replayed writes, and loses them again: it is begun anew."""
    session = _typed(maker, online, 2, 3, 4, 5, 6)
    online.kill(lost_writes=3)
    online.crashes = [(7, 2)]
    assert session.append(tokens=[7]).position == 6
    assert _tape(online, session) == [2, 3, 4, 5, 6, 7]
    replays = [(2, 2), (2, 3), (2, 4)], [(2, 4)], [(3, 2), (3, 3), (3, 4), (3, 5), (3, 6)]
    assert online.arrivals == [(1, 6), *itertools.chain(*replays)]


def test_one_crash_after_another(maker: Any, online: FakeOnline) -> None:
    """The server dies in every fifth write and loses up to three each time: the tape is whole."""
    session = _typed(maker, online)
    online.crashes = [(applied, applied % 4) for applied in range(4, 50, 5)]
    for number in range(40):
        assert session.append(tokens=[number % 10]).position == number + 1
    assert _tape(online, session) == [number % 10 for number in range(40)]
    assert online.crashes == []
    assert session.resumptions.replayed_writes > 0


def test_another_clients_tape_is_recognised_before_anything_is_written(
    maker: Any, online: FakeOnline
) -> None:
    """After a loss somebody else wrote as many steps: the session cannot be resumed, and says from where to start."""
    session = _typed(maker, online, 2, 3, 4, 5)
    online.kill(lost_writes=2)
    online.write_as_somebody_else(session.id, tokens=[9])
    with pytest.raises(errors.SessionLostError, match=r"somebody else.*refresh\(\).*position 3") as caught:
        session.append(tokens=[6])
    assert isinstance(caught.value, errors.StateBehindError)
    assert caught.value.restart_position == 3
    assert (caught.value.incarnation, caught.value.revision, caught.value.reason) == (2, 3, "STATE_BEHIND")
    assert _tape(online, session) == [2, 3, 9]
    with pytest.raises(errors.StateBehindError):
        session.append(tokens=[6])
    assert session.refresh().position == 3
    assert session.append(tokens=[6]).position == 4


def test_a_tape_of_another_length_is_not_even_tried(maker: Any, online: FakeOnline) -> None:
    """A position that this client's write of that revision did not reach tells enough."""
    session = _typed(maker, online, 2, 3, 4, 5)
    online.kill(lost_writes=2)
    online.write_as_somebody_else(session.id, tokens=[9, 9])
    with pytest.raises(errors.StateBehindError, match="somebody else"):
        session.append(tokens=[6])
    assert online.arrivals == [(1, 5)]


def test_somebody_elses_write_in_the_middle_of_the_replay(maker: Any, online: FakeOnline) -> None:
    """A write of another client that comes between two replayed ones ends the resumption at its revision."""
    session = _typed(maker, online, 2, 3, 4, 5)
    online.kill(lost_writes=3)

    def intrude(write: online_pb2.SessionWrite) -> None:
        if (write.incarnation, write.revision) == (2, 3):
            online.on_write = lambda write: None
            online.write_as_somebody_else(session.id, tokens=[9])

    online.on_write = intrude
    with pytest.raises(errors.StateBehindError, match="somebody else") as caught:
        session.append(tokens=[6])
    assert (caught.value.revision, caught.value.restart_position) == (3, 3)
    assert _tape(online, session) == [2, 3, 9]


def test_a_revision_taken_by_somebody_else_is_a_conflict(maker: Any, online: FakeOnline) -> None:
    """In a new life that has another write under this one's revision, RevisionConflictError is raised as ever."""
    session = _typed(maker, online, 2, 3)
    online.kill()
    online.write_as_somebody_else(session.id, tokens=[9])
    with pytest.raises(errors.RevisionConflictError) as caught:
        session.append(tokens=[4])
    assert not isinstance(caught.value, errors.SessionLostError)
    assert (caught.value.revision, caught.value.position) == (3, 3)


def test_a_session_goes_on_from_where_it_was_attached(maker: Any, online: FakeOnline) -> None:
    """Attached at revision 4, a client replays its own writes since then, and no other's."""
    first = _typed(maker, online, 2, 3, 4, 5)
    second = maker.attach(first.id)
    second.append(tokens=[6])
    online.kill(lost_writes=1)
    assert second.append(tokens=[7]).position == 6
    assert _tape(online, second) == [2, 3, 4, 5, 6, 7]


def test_a_loss_from_before_the_client_came_cannot_be_mended(maker: Any, online: FakeOnline) -> None:
    """Attached at revision 4 and thrown back to 3: only the other client has the write that is missing."""
    first = _typed(maker, online, 2, 3, 4, 5)
    second = maker.attach(first.id)
    second.append(tokens=[6])
    online.kill(lost_writes=2)
    with pytest.raises(errors.StateBehindError, match="more than this client has kept") as caught:
        second.append(tokens=[7])
    assert caught.value.restart_position == 3
    assert _tape(online, second) == [2, 3, 4]


def test_a_fork_goes_on_in_a_later_life(client: Any, online: FakeOnline) -> None:
    """A session that began at the revision of another one replays its own writes since then."""
    source = _typed(client, online, 2, 3, 4)
    fork = client.fork(source.id)
    fork.append(tokens=[5])
    online.sessions[fork.id].begin_new_life(lost_writes=1)
    assert fork.append(tokens=[6]).position == 5
    assert _tape(online, fork) == [2, 3, 4, 5, 6]
    assert source.append(tokens=[7]).position == 4


def test_a_memory_store_that_restarted_says_so(maker: Any, server: FakeServer) -> None:
    """Without a store the session is gone: a SessionLostError that says why, and to start at 0."""
    session = _typed(maker, server.online, 2, 3)
    server.online.kill()
    with pytest.raises(errors.SessionLostError, match=r"memory only.*position 0") as caught:
        session.append(tokens=[4])
    assert isinstance(caught.value, errors.SessionUnknownError)
    assert caught.value.restart_position == 0
    with pytest.raises(errors.SessionUnknownError, match="memory only"):
        session.refresh()


def test_a_session_of_a_store_that_is_gone_does_not_blame_memory(maker: Any, online: FakeOnline) -> None:
    """With a store the same failure only says what to do."""
    session = _typed(maker, online, 2)
    online.lose_sessions = True
    with pytest.raises(errors.SessionUnknownError, match="Make a new session") as caught:
        session.append(tokens=[4])
    assert "memory" not in caught.value.message


def test_a_session_that_moved_is_asked_for_again(maker: Any, online: FakeOnline) -> None:
    """SESSION_MOVED, then the facts of the new life, then the answer: the application sees none of it."""
    session = _typed(maker, online, 2, 3)
    online.kill()
    online.writes_to_refuse = [refusal(grpc.StatusCode.ABORTED, "elsewhere", reason="SESSION_MOVED")]
    assert session.append(tokens=[4]).position == 3
    assert online.arrivals == [(1, 3), (1, 3), (2, 2), (2, 3)]


def test_a_write_that_is_refused_when_made_again_ends_the_resumption(maker: Any, online: FakeOnline) -> None:
    """The position of a lost rewind is not kept any more: StateBehindError, not the error of a write long past. What
    was replayed until then counts.
    """
    session = _typed(maker, online, 2, 3, 4, 5)
    session.rewind(to=1)
    online.kill(lost_writes=2)

    def forget(write: online_pb2.SessionWrite) -> None:
        if (write.incarnation, write.revision) == (2, 5):
            gone = refusal(grpc.StatusCode.OUT_OF_RANGE, "not kept", reason="POSITION_NOT_RETAINED")
            online.writes_to_refuse = [gone]

    online.on_write = forget
    with pytest.raises(errors.StateBehindError, match="not kept") as caught:
        session.append(tokens=[6])
    assert (caught.value.revision, caught.value.restart_position) == (4, 4)
    assert session.refresh().position == 4


def test_a_bad_write_after_a_crash_is_the_callers_own_error(maker: Any, online: FakeOnline) -> None:
    """What was lost is replayed first; then the bad write is refused, and the next has nothing to make up for."""
    session = _typed(maker, online, 2, 3, 4)
    online.kill(lost_writes=2)
    with pytest.raises(errors.InvalidInputError):
        session.append(tokens=[2] * 100)
    assert _tape(online, session) == [2, 3, 4]
    online.arrivals.clear()
    assert session.append(tokens=[5]).position == 4
    assert online.arrivals == [(2, 4)]


def test_refresh_keeps_what_may_still_be_lost(maker: Any, online: FakeOnline) -> None:
    """Looking where the session stands, when it stands where it stood, forgets nothing."""
    session = _typed(maker, online, 2, 3, 4)
    session.refresh()
    online.kill(lost_writes=3)
    assert session.append(tokens=[5]).position == 4
    assert _tape(online, session) == [2, 3, 4, 5]


def test_a_deadline_in_the_middle_of_the_replay_leaves_a_write_to_repeat(
    maker: Any, online: FakeOnline
) -> None:
    """The server comes back, and goes away in mid-replay until after the deadline: `repeat` goes on from there."""
    session = _typed(maker, online, 2, 3, 4)
    online.kill(lost_writes=3)
    gone = refusal(grpc.StatusCode.UNAVAILABLE, "gone")

    def go_away(write: online_pb2.SessionWrite) -> None:
        if (write.incarnation, write.revision) == (2, 2):
            online.writes_to_refuse = [gone]

    online.on_write = go_away
    with pytest.raises((errors.UnavailableError, errors.DeadlineExceededError)):
        session.append(tokens=[5], timeout_seconds=0.3)
    assert (session.revision, session.state.incarnation) == (3, 1)
    with pytest.raises(errors.UnansweredWriteError):
        session.append(tokens=[6])
    online.on_write = lambda write: None
    assert session.repeat().position == 4
    assert _tape(online, session) == [2, 3, 4, 5]


@pytest.mark.parametrize("carrier", ["unary", "stream"])
async def test_a_replay_cancelled_half_way_is_taken_up_by_repeat(carrier: str, server: FakeServer) -> None:
    """Cancelled while the second of three lost writes is under way: nothing is doubled, nothing is missing."""
    online = server.online
    online.durability, online.lag_writes = session_pb2.DURABILITY_ASYNC, 3
    arrived, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def hold(write: online_pb2.SessionWrite) -> None:
        if (write.incarnation, write.revision) == (2, 2):
            loop.call_soon_threadsafe(arrived.set)
            go_on.wait(10)

    async with aio.Client(server.target) as client, client.stream() as stream:
        session = await (client if carrier == "unary" else stream).session("keyboard")
        for token in (2, 3, 4):
            await session.append(tokens=[token])
        online.kill(lost_writes=3)
        online.on_write = hold
        task = asyncio.create_task(session.append(tokens=[5]))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()
        assert (session.revision, session.state.incarnation) == (3, 1)
        assert (await session.repeat()).position == 4
    assert online.sessions[session.id].tape == [2, 3, 4, 5]
