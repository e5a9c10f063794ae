"""Random writes through random trouble: crashes, losses, lost replies and moves, in the middle of replays too."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import grpc
from gatehouse import errors, failures
from gatehouse.delivery import Delivery
from gatehouse.ledger import Ledger
from gatehouse.patience import Deadline
from gatehouse.results import WriteResult
from gatehouse.v1 import online_pb2, session_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.client import fake_model
from tests.client.fake_online import FakeOnline
from tests.client.fake_session import FakeSession
from tests.client.fake_status import Refusal, refusal

LAG_WRITES = 3


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """What happens at one arrival of a write: `before` it is looked at, or after it was applied."""

    before: bool
    lost_writes: int | None
    moved: bool = False


troubles = st.one_of(
    st.none(),
    st.none(),
    st.builds(Trouble, before=st.booleans(), lost_writes=st.none() | st.integers(0, LAG_WRITES)),
    st.just(Trouble(before=True, lost_writes=0, moved=True)),
)
writes = st.tuples(st.integers(0, 3), st.lists(st.integers(0, 9), max_size=4))


class Way:
    """Between a ledger and the fake server: every arrival may have its trouble; when they are used up, it is calm."""

    def __init__(self, online: FakeOnline, arrivals: list[Trouble | None]) -> None:
        self._online = online
        self._arrivals = arrivals

    def carry(self, write: online_pb2.SessionWrite) -> online_pb2.WriteResult:
        """One attempt."""
        trouble = self._arrivals.pop(0) if self._arrivals else None
        if trouble is not None and trouble.before:
            self._befall(trouble)
        try:
            result = self._online.write(write)
        except Refusal as error:
            raise failures.from_status(error.status) from error
        if trouble is not None:
            self._befall(trouble)
        return result

    def _befall(self, trouble: Trouble) -> None:
        if trouble.lost_writes is not None:
            self._online.kill(lost_writes=trouble.lost_writes)
        if trouble.moved:
            moved = refusal(grpc.StatusCode.ABORTED, "elsewhere", reason="SESSION_MOVED")
            raise failures.from_status(moved.status)
        raise errors.UnavailableError("Socket closed")


def _deliver(ledger: Ledger, way: Way) -> WriteResult:
    delivery = Delivery(ledger, Deadline(10))
    while delivery.answer is None:
        try:
            result = way.carry(delivery.next_write())
        except errors.GatehouseError as error:
            delivery.failed(error)
        else:
            delivery.answered(result)
    return delivery.answer


@settings(max_examples=200, deadline=None)
@given(program=st.lists(writes, min_size=1, max_size=20), arrivals=st.lists(troubles, max_size=30))
def test_no_step_is_lost_or_doubled(
    program: list[tuple[int, list[int]]], arrivals: list[Trouble | None]
) -> None:
    """After every write, tape and outputs are those of a run without trouble, and the revision counts the writes."""
    online = FakeOnline(Counter())
    session = FakeSession("s", "m@1", durability=session_pb2.DURABILITY_ASYNC, lag_writes=LAG_WRITES)
    online.durability, online.sessions["s"] = session.durability, session
    ledger, way = Ledger(session.describe()), Way(online, list(arrivals))
    tape: list[int] = []
    for number, (back, tokens) in enumerate(program):
        at = max(0, len(tape) - back)
        tape = tape[:at] + tokens
        ledger.draft(
            at=at,
            text=None,
            tokens=tokens or None,
            features=None,
            outputs=online_pb2.OutputOptions(k=2),
            empty=not tokens,
        )
        answer = _deliver(ledger, way)
        assert (answer.position, answer.revision) == (len(tape), number + 1)
        assert [candidate.id for candidate in answer.best] == [id_ for id_, _ in fake_model.best(tape, 2)]
        assert session.tape == tape


def test_the_storm_reaches_what_it_is_for() -> None:
    """A chosen run of it has a crash with loss, a replay, and a crash in the middle of that."""
    loss = Trouble(before=False, lost_writes=3)
    online = FakeOnline(Counter())
    session = FakeSession("s", "m@1", durability=session_pb2.DURABILITY_ASYNC, lag_writes=LAG_WRITES)
    online.durability, online.sessions["s"] = session.durability, session
    ledger = Ledger(session.describe())
    way = Way(online, [None, None, None, loss, None, None, None, loss])
    for token in range(4):
        ledger.draft(at=None, text=None, tokens=[token], features=None, outputs=None)
        _deliver(ledger, way)
    assert session.tape == [0, 1, 2, 3]
    assert (session.incarnation, ledger.resumptions.resumed) == (3, 1)
    assert ledger.resumptions.replayed_writes >= 3
