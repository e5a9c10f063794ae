"""What holds for the Redis store beyond what holds for every store: servers that share it, and what it erases."""

import os
import threading
from collections.abc import Callable
from typing import Any

from gatehouse_server.stores.port import Change, StoredSession, Summary
from gatehouse_server.stores.redis import RedisStore

from tests.stores.records import DELETED, PARTS, content, create, creation, saving, summary
from tests.stores.redis_server import PATIENCE_SECONDS, RedisServer

OpenRedis = Callable[..., RedisStore]


def test_a_stale_owner_does_not_write_over_the_new_one(open_redis: OpenRedis) -> None:
    """Once the other has claimed, the former owner's changes of any revision, its repeats and creations are refused."""
    first, second = open_redis(), open_redis()
    create(first, "a")
    (claimed,) = second.claim(["a"], owner="you", incarnation=7)
    assert isinstance(claimed, StoredSession)
    theirs = saving(owner="you", incarnation=7, revision=2)
    second.apply([theirs])
    standing = second.look(["a"])
    for late in (saving(revision=2), saving(revision=99, dropped=("tape",)), creation()):
        assert first.apply([late]) == standing
    assert content(second, owner="you") == (theirs.head, PARTS)


def test_of_servers_that_race_for_a_session_one_has_it(open_redis: OpenRedis) -> None:
    """Each claim by another begins a life of its own, one after the other, and the last one may write."""
    rounds = 50
    create(open_redis(), "a")
    won: dict[str, list[int]] = {"you": [], "they": []}
    start = threading.Barrier(len(won))

    def race(store: RedisStore, owner: str) -> None:
        start.wait(PATIENCE_SECONDS)
        for _ in range(rounds):
            (found,) = store.claim(["a"], owner=owner, incarnation=2)
            assert isinstance(found, StoredSession)
            assert found.summary.owner == owner
            won[owner].append(found.summary.incarnation)

    threads = [threading.Thread(target=race, args=(open_redis(), owner)) for owner in won]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert [len(incarnations) for incarnations in won.values()] == [rounds, rounds]
    assert all(incarnations == sorted(incarnations) for incarnations in won.values())
    assert not set(won["you"]) & set(won["they"])
    (last,) = open_redis().look(["a"])
    assert isinstance(last, Summary)
    assert last.incarnation == max(won["you"] + won["they"])
    assert last.incarnation == max(won[last.owner])
    loser = {"you": "they", "they": "you"}[last.owner]
    store = open_redis()
    assert store.apply([saving(owner=loser, incarnation=max(won[loser]))]) == [last]
    mine = saving(owner=last.owner, incarnation=last.incarnation)
    assert store.apply([mine]) == [mine.summary]


def test_incarnations_beyond_a_double_are_kept_apart(open_redis: OpenRedis) -> None:
    """Lua's numbers end at 2**53; 64-bit ones are compared, and raised by one, all the same."""
    store = open_redis()
    create(store, "a", incarnation=2**63 - 1, revision=2**60 + 1)
    standing = store.look(["a"])
    assert store.apply([saving(incarnation=2**63 - 1, revision=2**60)]) == standing
    assert store.apply([saving(incarnation=2**63 - 2, revision=2**61)]) == standing
    (claimed,) = store.claim(["a"], owner="you", incarnation=2**63 - 2)
    assert isinstance(claimed, StoredSession)
    assert claimed.summary.incarnation == 2**63
    for before, after in ((9, 10), (99, 100), (1999, 2000), (10, 11)):
        create(store, str(before), incarnation=before)
        (claimed,) = store.claim([str(before)], owner="you", incarnation=1)
        assert isinstance(claimed, StoredSession)
        assert claimed.summary.incarnation == after


def test_stores_of_different_prefixes_do_not_meet(open_redis: OpenRedis) -> None:
    """One Redis may keep several stores, each with its sessions and its secret."""
    first, second = open_redis(), open_redis(prefix="other")
    create(first, "a")
    assert second.count() == 0
    assert second.look(["a"]) == [None]
    assert second.secret != first.secret


# --- tombstones and erasure


def test_the_oldest_tombstones_beyond_the_limit_are_forgotten(open_redis: OpenRedis) -> None:
    """However young they are."""
    moments = iter(range(1000, 2000))
    store = open_redis(most_tombstones=3, clock=lambda: float(next(moments)))
    names = [f"s{index}" for index in range(8)]
    create(store, *names)
    for name in names:
        store.remove(name, DELETED)
    store.expire(2000.0, 10)
    assert store.look(names) == [None] * 5 + [DELETED] * 3


def test_a_large_expiry_goes_in_portions(open_redis: OpenRedis) -> None:
    """More than one script run erases, and the limit holds over all of them."""
    store = open_redis()
    store.apply([creation(f"s{index:04}", expires_unix_seconds=float(index)) for index in range(1300)])
    assert store.expire(2000.0, 1201) == 1201
    assert store.count() == 99
    assert store.after("", 1)[0].session_id == "s1201"


def test_scrubbing_takes_erased_content_out_of_the_log(
    open_redis: OpenRedis, redis_server: RedisServer
) -> None:
    """Redis writes its append-only file anew, and what was erased is no longer in any of its files."""
    store = open_redis()
    secret = os.urandom(64)
    store.apply([Change(summary=summary(), head=b"", parts={"tape": secret}, creates=True)])
    create(store, "b")
    store.remove("a", DELETED)

    def files_with_secret() -> list[str]:
        return [
            path.name
            for path in redis_server.folder.rglob("*.*")
            if path.is_file() and secret in path.read_bytes()
        ]

    assert files_with_secret()
    store.scrub()
    redis_server.wait_until_logged("Background AOF rewrite finished successfully")
    assert files_with_secret() == []
    assert store.look(["a"]) == [DELETED]


def test_the_log_is_not_written_anew_each_time(
    open_redis: OpenRedis, redis_server: RedisServer, raw_redis: Any
) -> None:
    """Once in a while for all servers together, and once more later for what was erased meanwhile."""
    first, second = open_redis(), open_redis()
    create(first, "a", "b")
    first.remove("a", DELETED)
    first.scrub()
    redis_server.wait_until_logged("Background AOF rewrite finished successfully")
    second.remove("b", DELETED)
    for store in (first, second):
        store.scrub()
    assert _rewrites(raw_redis) == 1
    raw_redis.delete("gatehouse:rewritten")  # what Redis does by itself after the hour
    first.scrub()
    assert _rewrites(raw_redis) == 1
    second.scrub()
    assert _rewrites(raw_redis) == 2


def _rewrites(raw_redis: Any) -> int:
    """How often the append-only file was written anew, or is about to be."""
    return int(raw_redis.info("persistence")["aof_rewrites"])
