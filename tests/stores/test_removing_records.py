"""What every state store does where records are removed or expire, sentence by sentence of the port."""

import time
from collections.abc import Callable

import pytest
from gatehouse_server.stores.port import SessionStore, Tombstone

from tests.stores.records import DELETED, HEAD, PARTS, content, create, looked, saving

Factory = Callable[..., SessionStore]
DAY_SECONDS = 86_400.0


def test_removing_erases_and_leaves_the_tombstone(store: SessionStore) -> None:
    """What stood there is told; afterwards the tombstone is, with the request that ended the session."""
    create(store, "a", "b")
    standing = looked(store)
    assert store.remove("a", DELETED) == standing
    assert store.look(["a"]) == [DELETED]
    assert store.claim(["a"], owner="me", incarnation=1) == [DELETED]
    assert store.count() == 1
    assert [each.session_id for each in store.after("", 10)] == ["b"]


@pytest.mark.parametrize("why", ["SESSION_EXPIRED", "SESSION_DELETED", "SESSION_EVICTED"])
def test_every_ending_is_kept(store: SessionStore, why: str) -> None:
    """With and without a request."""
    create(store, "a", "b")
    with_request, without = Tombstone(why=why, request_id="r-1"), Tombstone(why=why)  # type: ignore[arg-type]
    store.remove("a", with_request)
    store.remove("b", without)
    assert store.look(["a", "b"]) == [with_request, without]


def test_removing_again_tells_the_tombstone_and_keeps_it(store: SessionStore) -> None:
    """A repeated deletion finds what the first one left; another one does not replace it."""
    create(store, "a")
    store.remove("a", DELETED)
    assert store.remove("a", Tombstone(why="SESSION_EVICTED", request_id="other")) == DELETED
    assert store.remove("a", DELETED, incarnation=1) == DELETED
    assert store.look(["a"]) == [DELETED]
    assert store.count() == 0


def test_removing_the_unknown_leaves_nothing(store: SessionStore) -> None:
    """No tombstone without a record."""
    assert store.remove("a", DELETED) is None
    assert store.look(["a"]) == [None]


def test_removing_one_life_leaves_another_alone(store: SessionStore) -> None:
    """With an incarnation only the record of that one goes; the answer tells what stands there."""
    create(store, "a", incarnation=2)
    standing = looked(store)
    for other in (1, 3):
        assert store.remove("a", DELETED, incarnation=other) == standing
        assert store.look(["a"]) == [standing]
        assert content(store) == (HEAD, PARTS)
    assert store.remove("a", DELETED, incarnation=2) == standing
    assert store.look(["a"]) == [DELETED]


def test_records_whose_time_is_up_are_erased(store: SessionStore) -> None:
    """Those due at that moment go and leave a tombstone that says so; those due later stay."""
    now = time.time()
    create(store, "long due", expires_unix_seconds=now - 5.0)
    create(store, "just due", expires_unix_seconds=now)
    create(store, "later", expires_unix_seconds=now + 0.5)
    assert store.expire(now, 10) == 2
    expired = Tombstone(why="SESSION_EXPIRED")
    assert store.look(["long due", "just due"]) == [expired, expired]
    assert [each.session_id for each in store.after("", 10)] == ["later"]
    assert store.count() == 1
    assert store.expire(now, 10) == 0


def test_expiry_goes_by_the_latest_change(store: SessionStore) -> None:
    """A write puts it off."""
    now = time.time()
    create(store, "a", expires_unix_seconds=now)
    store.apply([saving(expires_unix_seconds=now + 9.0)])
    assert store.expire(now + 8.0, 10) == 0
    assert store.expire(now + 9.0, 10) == 1


def test_expiry_is_bounded(store: SessionStore) -> None:
    """At most `limit` go at a time, the longest due first, until all are gone."""
    now = time.time()
    for index in range(7):
        create(store, f"s{index}", expires_unix_seconds=now - index)
    assert store.expire(now, 3) == 3
    assert [each.session_id for each in store.after("", 10)] == ["s0", "s1", "s2", "s3"]
    assert store.expire(now, 3) == 3
    assert store.expire(now, 3) == 1
    assert store.expire(now, 3) == 0
    assert store.count() == 0


def test_tombstones_are_forgotten_after_a_day(store_factory: Factory) -> None:
    """Neither those of deletions nor those of expiry are told any more, and not before."""
    now = time.time()
    store = store_factory(clock=lambda: now)
    create(store, "deleted", "kept")
    create(store, "expired", expires_unix_seconds=now)
    store.remove("deleted", DELETED)
    store.expire(now, 10)
    store.apply([saving("kept", expires_unix_seconds=now + 3 * DAY_SECONDS)])
    store.expire(now + DAY_SECONDS - 60.0, 10)
    assert store.look(["deleted", "expired"]) == [DELETED, Tombstone(why="SESSION_EXPIRED")]
    store.expire(now + DAY_SECONDS + 60.0, 10)
    assert store.look(["deleted", "expired"]) == [None, None]
    assert store.count() == 1


def test_scrubbing_changes_no_record(store: SessionStore) -> None:
    """Nor does it hinder what comes after it."""
    create(store, "a", "b")
    store.remove("b", DELETED)
    before = store.look(["a", "b"])
    store.scrub()
    store.scrub()
    assert store.look(["a", "b"]) == before
    assert content(store) == (HEAD, PARTS)
    assert store.apply([saving()]) == [saving().summary]
