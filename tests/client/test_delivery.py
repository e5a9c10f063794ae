"""One write on its way: what is sent next and how long the pauses are, without any network and on a clock that only
the test moves.
"""

from __future__ import annotations

import pytest
from gatehouse import errors
from gatehouse.delivery import Delivery
from gatehouse.ledger import Ledger
from gatehouse.patience import Deadline
from gatehouse.v1 import online_pb2, session_pb2


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of every deadline."""
    clock = Clock()
    monkeypatch.setattr("gatehouse.patience.time.monotonic", clock)
    return clock


def _state(incarnation: int, revision: int, durable_revision: int = 0) -> session_pb2.SessionState:
    return session_pb2.SessionState(
        incarnation=incarnation, revision=revision, position=revision, durable_revision=durable_revision
    )


def _result(write: online_pb2.SessionWrite) -> online_pb2.WriteResult:
    return online_pb2.WriteResult(session_id="s", state=_state(write.incarnation, write.revision))


def _ledger(accepted: int = 0) -> Ledger:
    """The books of a session with so many writes of one step, none of them durable."""
    ledger = Ledger(
        session_pb2.Session(session_id="s", state=_state(1, 0), durability=session_pb2.DURABILITY_ASYNC)
    )
    for _ in range(accepted):
        ledger.accept(_result(_draft(ledger)))
    return ledger


def _draft(ledger: Ledger) -> online_pb2.SessionWrite:
    return ledger.draft(at=None, text="how", tokens=None, features=None, outputs=None)


def _delivery(ledger: Ledger, seconds: float = 10) -> Delivery:
    if ledger.unanswered is None:
        _draft(ledger)
    return Delivery(ledger, Deadline(seconds))


def _behind(incarnation: int, revision: int) -> errors.StateBehindError:
    facts = {"incarnation": incarnation, "revision": revision, "position": revision}
    return errors.StateBehindError(
        "less", reason="STATE_BEHIND", metadata={name: str(value) for name, value in facts.items()}
    )


def _claim(write: online_pb2.SessionWrite) -> tuple[int, int]:
    return write.incarnation, write.revision


def test_only_the_incarnation_changes_when_a_write_is_made_again(clock: Clock) -> None:
    """A write goes out in another life as it was, position, inputs and outputs, and stays in the books as it was."""
    ledger = _ledger()
    outputs = online_pb2.OutputOptions(k=3)
    ledger.draft(at=0, text="how", tokens=None, features=None, outputs=outputs)
    delivery = _delivery(ledger)
    first = delivery.next_write()
    delivery.failed(_behind(2, 0))
    again = delivery.next_write()
    assert (_claim(first), _claim(again)) == ((1, 1), (2, 1))
    again.incarnation = 1
    assert again == first


def test_pauses_grow_until_something_is_answered(clock: Clock) -> None:
    """Without an answer each pause is longer than the one before; after a replayed write they are short again."""
    delivery = _delivery(_ledger(accepted=3))
    gone = errors.UnavailableError("gone")
    pauses = [delivery.failed(gone) for _ in range(4)]
    assert pauses == sorted(pauses)
    assert pauses[3] > 4 * pauses[0]
    assert delivery.failed(_behind(2, 1)) == 0
    delivery.answered(_result(delivery.next_write()))
    assert delivery.failed(gone) < pauses[2]


def test_the_pause_that_the_server_told_is_kept(clock: Clock) -> None:
    """A server that tells to come back in two seconds is not asked before, whatever came before."""
    delivery = _delivery(_ledger())
    lagging = errors.UnavailableError("lagging", reason="STORE_LAGGING", retry_after_seconds=2.0)
    assert 2.0 < delivery.failed(lagging) < 2.1


def test_a_pause_that_does_not_fit_into_the_deadline_is_not_made(clock: Clock) -> None:
    """Told to come back in two seconds with one left: the failure is raised at once, and tells when."""
    ledger = _ledger()
    delivery = _delivery(ledger, seconds=1)
    lagging = errors.UnavailableError("lagging", reason="STORE_LAGGING", retry_after_seconds=2.0)
    with pytest.raises(errors.UnavailableError) as caught:
        delivery.failed(lagging)
    assert caught.value.retry_after_seconds == 2.0
    assert ledger.unanswered is not None


def test_everything_counts_against_one_deadline(clock: Clock) -> None:
    """Attempts, replays and pauses take from the same ten seconds; when they are over, the last failure is raised."""
    ledger = _ledger(accepted=3)
    delivery = _delivery(ledger, seconds=10)
    delivery.failed(_behind(2, 1))
    shares = []
    for _ in range(2):
        shares.append(delivery.attempt_seconds())
        clock.now += 3
        delivery.answered(_result(delivery.next_write()))
    assert shares == [5, 3.5]
    clock.now += 3.99
    with pytest.raises(errors.UnavailableError):
        delivery.failed(errors.UnavailableError("gone"))
    assert ledger.unanswered is not None


def test_a_server_that_never_gets_further_is_asked_with_pauses(clock: Clock) -> None:
    """A life after the other in which only the known write is answered: pauses grow, and in the end it is not called
    lost, but late; the write can be repeated.
    """
    ledger = _ledger(accepted=2)
    delivery = _delivery(ledger)
    pauses: list[float] = []

    def live_and_die() -> None:
        for life in range(2, 1000):
            pauses.append(delivery.failed(_behind(life, 1)))
            clock.now += pauses[-1]
            assert _claim(delivery.next_write()) == (life, 1)
            delivery.answered(_result(delivery.next_write()))

    with pytest.raises(errors.DeadlineExceededError, match="again and again"):
        live_and_die()
    assert pauses[:2] == [0, 0]
    assert 0 < pauses[2] < pauses[4] < pauses[6]
    assert ledger.unanswered is not None


def test_a_busy_server_is_waited_for_only_while_resuming(clock: Clock) -> None:
    """Overload is the caller's business, except between the writes that a resumption consists of."""
    busy = errors.OverloadedError("full", reason="QUEUE_FULL", retry_after_seconds=0.5)
    ledger = _ledger(accepted=2)
    with pytest.raises(errors.OverloadedError):
        _delivery(ledger).failed(busy)
    assert ledger.unanswered is None
    delivery = _delivery(ledger)
    delivery.failed(_behind(2, 0))
    assert delivery.failed(busy) > 0.5
    assert _claim(delivery.next_write()) == (2, 1)


def test_the_life_that_has_everything_is_the_one_to_go_on_with(clock: Clock) -> None:
    """The books take over the incarnation when the last lost write is answered, not before."""
    ledger = _ledger(accepted=3)
    delivery = _delivery(ledger)
    delivery.failed(_behind(2, 1))
    lives = []
    for _ in range(3):
        lives.append(ledger.state.incarnation)
        delivery.answered(_result(delivery.next_write()))
    assert lives == [1, 1, 1]
    assert (ledger.state.incarnation, ledger.state.revision) == (2, 3)
    again = Delivery(ledger, Deadline(10))
    assert _claim(again.next_write()) == (2, 4)


def test_a_write_that_leads_elsewhere_than_before_ends_the_resumption(clock: Clock) -> None:
    """An answer with another position than the first time is not taken for the same tape."""
    delivery = _delivery(_ledger(accepted=2))
    delivery.failed(_behind(2, 1))
    answer = _result(delivery.next_write())
    answer.state.position = 9
    with pytest.raises(errors.StateBehindError, match="elsewhere"):
        delivery.answered(answer)


def test_a_server_that_does_not_say_where_it_stands_is_not_resumed(clock: Clock) -> None:
    """STATE_BEHIND without its facts is raised as it came."""
    bare = errors.StateBehindError("less", reason="STATE_BEHIND")
    with pytest.raises(errors.StateBehindError) as caught:
        _delivery(_ledger()).failed(bare)
    assert caught.value is bare
    assert caught.value.restart_position == 0


@pytest.mark.parametrize(
    "refused",
    [
        errors.DeadlineExceededError("too late", reason="DEADLINE_EXPIRED"),
        errors.OverloadedError("full", reason="QUEUE_FULL"),
        errors.ModelNotLoadedError("not here", reason="MODEL_NOT_LOADED"),
    ],
    ids=lambda error: str(error.reason),
)
def test_a_refused_attempt_does_not_settle_an_earlier_one(
    clock: Clock, refused: errors.GatehouseError
) -> None:
    """First no answer, then one that the attempt was not made: the first may have been applied all the same. Without
    the first it is certain.
    """
    for doubted in (True, False):
        ledger = _ledger()
        delivery = _delivery(ledger, seconds=1)
        if doubted:
            delivery.failed(errors.UnavailableError("Socket closed"))
        clock.now += 1
        with pytest.raises(type(refused)):
            delivery.failed(refused)
        assert (ledger.unanswered is not None) == doubted


def test_a_write_that_was_sent_before_stays_in_doubt_when_repeated(clock: Clock) -> None:
    """A delivery that was given up half-way (cancelled) leaves doubt, though nothing failed."""
    ledger = _ledger()
    _delivery(ledger)
    with pytest.raises(errors.OverloadedError):
        Delivery(ledger, Deadline(10)).failed(errors.OverloadedError("full", reason="QUEUE_FULL"))
    assert ledger.unanswered is not None
    with pytest.raises(errors.InvalidInputError):
        Delivery(ledger, Deadline(10)).failed(errors.InvalidInputError("bad", reason="AT"))
    assert ledger.unanswered is None


@pytest.mark.parametrize(
    "never_sent",
    [errors.MessageTooLargeError("CLIENT: Sent message larger than max (9 vs. 8)"), ValueError("closed")],
    ids=["too large", "closed"],
)
@pytest.mark.parametrize("doubted", [True, False])
def test_what_was_never_sent_settles_no_earlier_attempt(
    clock: Clock, never_sent: Exception, doubted: bool
) -> None:
    """An attempt that never left says nothing of one before that may have been applied; without one, it is certain."""
    ledger = _ledger()
    delivery = _delivery(ledger)
    if doubted:
        delivery.failed(errors.UnavailableError("Socket closed"))
    if isinstance(never_sent, errors.GatehouseError):
        with pytest.raises(errors.MessageTooLargeError):
            delivery.failed(never_sent)
    else:
        told = delivery.not_sent(never_sent)
        assert isinstance(told, errors.ClientClosedError) if doubted else told is never_sent
    assert (ledger.unanswered is not None) == doubted


def test_an_answer_that_was_too_large_leaves_doubt(clock: Clock) -> None:
    """The write that it answers was applied."""
    ledger = _ledger()
    with pytest.raises(errors.MessageTooLargeError):
        _delivery(ledger).failed(
            errors.MessageTooLargeError("CLIENT: Received message larger than max (9 vs. 8)")
        )
    assert ledger.unanswered is not None


def test_a_durable_write_is_not_kept_to_be_made_again(clock: Clock) -> None:
    """A server that goes back behind what it called durable is not mended by guesswork."""
    ledger = _ledger(accepted=2)
    write = _draft(ledger)
    answer = _result(write)
    answer.state.durable_revision = 2
    ledger.accept(answer)
    with pytest.raises(errors.StateBehindError, match="more than this client has kept"):
        _delivery(ledger).failed(_behind(2, 1))


def test_the_error_at_the_end_says_what_kept_the_server_from_answering(clock: Clock) -> None:
    """A last attempt that was too short to be answered is no news after a server that was not there."""
    delivery = _delivery(_ledger(), seconds=1)
    gone = errors.UnavailableError("no server")
    delivery.failed(gone)
    clock.now += 2
    with pytest.raises(errors.UnavailableError) as raised:
        delivery.failed(errors.DeadlineExceededError("too late"))
    assert raised.value is gone
