"""What the Redis store does when Redis, or the way to it, fails."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from gatehouse_server.stores.port import Change, StoredSession, StoreFailure, Summary, Tombstone
from gatehouse_server.stores.redis import RedisStore

from tests.stores.dropping_proxy import DroppingProxy
from tests.stores.records import DELETED, PARTS, content, create, creation, saving
from tests.stores.redis_server import PATIENCE_SECONDS, RedisServer

OpenRedis = Callable[..., RedisStore]
SOON_SECONDS = 0.4
"""For tests that wait until Redis is given up."""


# --- lost replies


def test_a_change_whose_reply_was_lost_is_applied_once_more_without_harm(
    open_redis: OpenRedis, dropping_proxy: DroppingProxy
) -> None:
    """The store asks again by itself: the record is the same as after one write."""
    store, other = open_redis(dropping_proxy.url), open_redis()
    create(store, "a")
    change = saving(parts={"new": b"n"}, dropped=("tape",))
    dropping_proxy.lose_reply()
    assert store.apply([change]) == [change.summary]
    assert dropping_proxy.lost.is_set()
    assert content(other) == (change.head, {"state": PARTS["state"], "new": b"n"})
    (found,) = other.look(["a"])
    assert isinstance(found, Summary)
    assert found.size_bytes == len(change.head) + len(PARTS["state"]) + 1


def test_a_claim_whose_reply_was_lost_begins_one_life(
    open_redis: OpenRedis, dropping_proxy: DroppingProxy
) -> None:
    """Asked again it finds the record its own."""
    store = open_redis(dropping_proxy.url)
    create(store, "a", incarnation=5)
    dropping_proxy.lose_reply()
    (claimed,) = store.claim(["a"], owner="you", incarnation=1)
    assert dropping_proxy.lost.is_set()
    assert isinstance(claimed, StoredSession)
    assert claimed.summary.incarnation == 6


def test_a_creation_whose_reply_was_lost_is_told_and_may_be_repeated(
    open_redis: OpenRedis, dropping_proxy: DroppingProxy
) -> None:
    """It is not repeated by itself, since the session may be gone again; a repeat counts as applied."""
    store = open_redis(dropping_proxy.url)
    dropping_proxy.lose_reply()
    with pytest.raises(StoreFailure):
        store.apply([creation()])
    assert store.count() == 1
    assert store.apply([creation()]) == [creation().summary]
    assert store.count() == 1


def test_a_creation_that_never_arrived_is_told(open_redis: OpenRedis, dropping_proxy: DroppingProxy) -> None:
    """For the one who asks, it looks the same as a lost reply."""
    store = open_redis(dropping_proxy.url)
    dropping_proxy.lose_request()
    with pytest.raises(StoreFailure):
        store.apply([creation()])
    assert store.count() == 0


def test_a_removal_whose_reply_was_lost_is_not_repeated(
    open_redis: OpenRedis, dropping_proxy: DroppingProxy
) -> None:
    """A repeat could take away what was created in between; the tombstone tells whose removal it was."""
    store = open_redis(dropping_proxy.url)
    create(store, "a")
    dropping_proxy.lose_reply()
    with pytest.raises(StoreFailure):
        store.remove("a", DELETED)
    assert store.look(["a"]) == [DELETED]


@pytest.mark.parametrize("late", ["change", "removal"])
def test_what_was_given_up_does_not_happen_after_what_was_asked_later(
    open_redis: OpenRedis, dropping_proxy: DroppingProxy, late: str
) -> None:
    """A question that Redis reads only after a later one of the same store, on another connection, does nothing."""
    store = open_redis(dropping_proxy.url, timeout_seconds=SOON_SECONDS)
    create(store, "a")
    dropping_proxy.hold_request()
    with pytest.raises(StoreFailure, match="did not answer"):
        store.remove("a", DELETED) if late == "removal" else store.apply(
            [saving(head=b"late", dropped=("tape",))]
        )
    change = saving(head=b"later")
    _until_it_works(lambda: store.apply([change]))
    assert b"GATEHOUSE_LATE" in dropping_proxy.deliver()
    assert content(store) == (b"later", PARTS)


# --- a Redis that fails


def test_a_redis_that_stops_and_comes_back_is_used_again(
    open_redis: OpenRedis, redis_server: RedisServer
) -> None:
    """While it is away every call fails with one line; then the store goes on, scripts and all, with what it had."""
    store = open_redis()
    create(store, "a")
    redis_server.kill()
    calls: list[Callable[[], object]] = [
        lambda: store.apply([saving()]),
        lambda: store.claim(["a"], owner="me", incarnation=1),
        lambda: store.look(["a"]),
        lambda: store.remove("a", DELETED),
        lambda: store.after("", 1),
        lambda: store.expire(0.0, 1),
        store.count,
        store.scrub,
    ]
    for call in calls:
        with pytest.raises(StoreFailure, match=r"^Redis at 127\.0\.0\.1:\d+ cannot be reached: .+$"):
            call()
    redis_server.start()
    assert store.count() == 1
    assert store.apply([saving()]) == [saving().summary]
    assert content(store) == (saving().head, PARTS)


@pytest.mark.parametrize("restarted", [False, True])
def test_a_redis_that_hangs_is_given_up_and_used_again(
    open_redis: OpenRedis, redis_server: RedisServer, restarted: bool
) -> None:
    """What hangs costs the timeout; replies that come too late are not taken for those of later questions."""
    store = open_redis(timeout_seconds=SOON_SECONDS)
    create(store, "a", "b")
    give_up: list[Callable[[], object]] = [
        lambda: store.apply([saving()]),
        lambda: store.look(["a"]),
        store.count,
    ]
    redis_server.pause()
    for call in give_up:
        with pytest.raises(StoreFailure, match=rf"did not answer within {SOON_SECONDS} s$"):
            call()
    if restarted:
        redis_server.kill()
        redis_server.start()
    else:
        redis_server.resume()
    _until_it_works(store.count)
    found = store.look(["b", "a"])
    assert [each.session_id for each in found if isinstance(each, Summary)] == ["b", "a"]
    assert store.apply([saving(parts={"new": b"n"})]) == [saving().summary]
    assert content(store) == (saving().head, {**PARTS, "new": b"n"})


def test_a_redis_that_stops_in_the_middle_of_writing_keeps_each_change_whole(
    open_redis: OpenRedis, redis_server: RedisServer
) -> None:
    """Of a batch that was under way some changes are kept and some are not, none in part; the batch may be repeated."""
    store = open_redis()
    names = [f"s{index}" for index in range(40)]
    create(store, *names)
    kept_bytes = 100_000

    def batch(revision: int) -> list[Change]:
        parts = {"x": b"%d" % revision * kept_bytes, "y": b"%d" % revision * kept_bytes}
        return [saving(name, revision=revision, head=b"%d" % revision, parts=parts) for name in names]

    acknowledged = 1
    under_way = threading.Event()

    def kill_soon() -> None:
        under_way.wait(PATIENCE_SECONDS)
        redis_server.kill()

    killer = threading.Thread(target=kill_soon)
    killer.start()
    with pytest.raises(StoreFailure):  # noqa: PT012  which batch is the one that fails is up to the machine
        for revision in range(2, 1000):
            store.apply(batch(revision))
            acknowledged = revision
            under_way.set()
    killer.join(PATIENCE_SECONDS)
    redis_server.start()
    for found in store.claim(names, owner="me", incarnation=1):
        assert isinstance(found, StoredSession)
        revision = found.summary.revision
        assert acknowledged <= revision <= acknowledged + 1
        assert found.head == b"%d" % revision
        assert {found.parts["x"], found.parts["y"]} == {b"%d" % revision * kept_bytes}
    again = batch(acknowledged + 1)
    assert store.apply(again) == [change.summary for change in again]


def test_a_redis_that_lost_its_data_is_an_error_and_not_an_empty_store(
    open_redis: OpenRedis, raw_redis: Any
) -> None:
    """Emptied under a running server, or made anew by another: nothing is answered as gone, none is created."""
    store = open_redis()
    create(store, "a")
    raw_redis.flushall()
    for _ in range(2):
        for call in (
            lambda: store.look(["a"]),
            lambda: store.apply([saving()]),
            lambda: store.apply([creation("b")]),
            lambda: store.claim(["a"], owner="me", incarnation=1),
            store.count,
        ):
            with pytest.raises(StoreFailure, match="no longer holds this store"):
                call()
        another = open_redis()  # and now once more, with a store of another name under the prefix
    assert another.count() == 0


def test_scripts_that_redis_forgot_are_taught_again(open_redis: OpenRedis, raw_redis: Any) -> None:
    """A batch is done in its order, whether Redis knew them or not."""
    store = open_redis()
    raw_redis.script_flush()
    changes = [creation("a"), creation("b"), saving("a", revision=2), saving("a", revision=3)]
    assert store.apply(changes) == [change.summary for change in changes]
    raw_redis.script_flush()
    assert store.count() == 2


def test_a_full_redis_refuses_changes_whole(open_redis: OpenRedis, raw_redis: Any) -> None:
    """At its memory limit writes fail and reads go on; nothing is changed in part."""
    store = open_redis()
    create(store, "a")
    raw_redis.config_set("maxmemory", "1mb")
    with pytest.raises(StoreFailure, match="is full"):
        store.apply([saving(parts={"large": bytes(100)}, dropped=("tape",))])
    assert isinstance(store.look(["a"])[0], Summary)
    raw_redis.config_set("maxmemory", "0")
    assert content(store)[1] == PARTS


def test_a_full_redis_lets_go_of_sessions(open_redis: OpenRedis, raw_redis: Any) -> None:
    """Removal and expiry, which make the room that is missing, go on; a probe tells that there is none."""
    store = open_redis()
    create(store, "kept", "a")
    create(store, "due", expires_unix_seconds=1.0)
    store.probe()
    raw_redis.config_set("maxmemory", "1mb")
    with pytest.raises(StoreFailure, match="is full"):
        store.probe()
    store.remove("a", DELETED)
    assert store.expire(2.0, 9) == 1
    assert store.look(["a", "due"]) == [DELETED, Tombstone(why="SESSION_EXPIRED")]
    assert store.count() == 1
    raw_redis.config_set("maxmemory", "0")
    store.probe()
    assert open_redis().count() == 1


def test_a_full_redis_is_read_after_a_lost_reply(
    open_redis: OpenRedis, dropping_proxy: DroppingProxy, raw_redis: Any
) -> None:
    """Nor does it keep the store from saying that what it gave up must not happen any more."""
    store = open_redis(dropping_proxy.url)
    create(store, "a", "b")
    dropping_proxy.lose_reply()
    with pytest.raises(StoreFailure):
        store.remove("a", DELETED)
    raw_redis.config_set("maxmemory", "1mb")
    assert store.look(["a"]) == [DELETED]
    assert isinstance(store.remove("b", DELETED), Summary)


def test_a_damaged_record_is_told_by_its_name(open_redis: OpenRedis, raw_redis: Any) -> None:
    """Fields or parts that somebody took away are not passed over."""
    store = open_redis()
    create(store, "a", "b")
    raw_redis.hdel("gatehouse:session:a", "part:tape")
    with pytest.raises(StoreFailure, match=r"'a'.* damaged"):
        store.claim(["a"], owner="me", incarnation=1)
    raw_redis.hset("gatehouse:session:b", "revision", "two")
    with pytest.raises(StoreFailure, match=r"'b'.* damaged"):
        store.look(["b"])


def _until_it_works(call: Callable[[], object]) -> None:
    """Asks until there is an answer: a busy machine may need more than the short timeout."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            call()
            return
        except StoreFailure:
            if time.monotonic() > until:
                raise
