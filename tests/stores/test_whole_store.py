"""What every state store is as a whole, sentence by sentence of the port: listed, counted, opened anew, shared."""

import time
from collections.abc import Callable
from itertools import pairwise

import pytest
from gatehouse_server.stores.port import SessionStore, StoreFailure

from tests.stores.records import DELETED, HEAD, PARTS, content, create, creation, saving

Factory = Callable[..., SessionStore]


def test_records_are_listed_in_the_order_of_their_bytes(store: SessionStore) -> None:
    """Page after page, each record once, capitals before small letters, without those that are gone."""
    names = ["b", "B", "a", "aa", "a b", "Z", "10", "9", "~", "_", " x"]
    create(store, *names)
    create(store, "gone")
    store.remove("gone", DELETED)
    listed: list[str] = []
    while page := store.after(listed[-1] if listed else "", 3):
        assert len(page) <= 3
        listed += [each.session_id for each in page]
    assert listed == sorted(names, key=str.encode)
    assert all(first.encode() < second.encode() for first, second in pairwise(listed))


def test_a_page_has_whole_summaries(store: SessionStore) -> None:
    """What listing tells of a record is what looking tells; the place to start at need not exist."""
    create(store, "a", "c", request_id="create-1")
    assert store.after("b", 5) == store.look(["c"])
    assert store.after("a", 1) == store.look(["c"])
    assert store.after("c", 5) == []
    assert store.after("", 1) == store.look(["a"])


def test_records_are_counted(store_factory: Factory) -> None:
    """By creation, removal and expiry, refused ones not; the same after opening it again."""
    store = store_factory()
    now = time.time()
    assert store.count() == 0
    create(store, "a", "b", "c")
    store.apply([creation("a"), creation("a", owner="you"), saving("b"), saving("unknown")])
    assert store.count() == 3
    store.remove("unknown", DELETED)
    store.remove("a", DELETED, incarnation=9)
    assert store.count() == 3
    store.remove("a", DELETED)
    create(store, "due", expires_unix_seconds=now)
    store.expire(now, 10)
    assert store.count() == 2
    store.close()
    assert store_factory().count() == 2


def test_what_was_applied_is_there_when_it_is_opened_again(store_factory: Factory) -> None:
    """Records, parts, owners, tombstones."""
    store = store_factory()
    create(store, "a", "b", "gone")
    store.apply([saving(parts={"new": b"n"}, dropped=("tape",))])
    store.claim(["b"], owner="you", incarnation=4)
    store.remove("gone", DELETED)
    names = ["a", "b", "gone", "unknown"]
    before, whole = store.look(names), content(store)
    store.close()
    again = store_factory()
    assert again.look(names) == before
    assert content(again) == whole
    assert again.after("", 10) == before[:2]


def test_the_secret_is_made_once(store_factory: Factory) -> None:
    """32 bytes that stay with the store."""
    store = store_factory()
    secret = store.secret
    assert len(secret) == 32
    assert secret != bytes(32)
    create(store, "a")
    store.close()
    assert store_factory().secret == secret


def test_everybody_who_opens_a_shared_store_sees_the_same(store_factory: Factory) -> None:
    """One secret, one set of records; what one claims the other may no longer write. For shared stores."""
    first = store_factory()
    if not first.shared:
        pytest.skip("this store has one user at a time")
    second = store_factory()
    assert second.secret == first.secret
    create(first, "a")
    assert second.count() == 1
    assert content(second) == (HEAD, PARTS)
    second.claim(["a"], owner="you", incarnation=1)
    assert first.apply([saving()]) == second.look(["a"])
    second.remove("a", DELETED)
    assert first.look(["a"]) == [DELETED]


def test_a_closed_store_fails_with_one_line_and_closes_again(store: SessionStore) -> None:
    """Closing never raises; everything after it raises StoreFailure."""
    create(store, "a")
    store.close()
    store.close()
    calls: list[Callable[[], object]] = [
        lambda: store.apply([saving()]),
        lambda: store.claim(["a"], owner="me", incarnation=1),
        lambda: store.look(["a"]),
        lambda: store.remove("a", DELETED),
        lambda: store.after("", 1),
        lambda: store.expire(0.0, 1),
        store.probe,
        store.scrub,
    ]
    for call in calls:
        with pytest.raises(StoreFailure) as failure:
            call()
        assert str(failure.value)
        assert len(str(failure.value).splitlines()) == 1
