"""What the Redis store refuses to open, and what it says then."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gatehouse_server.errors import StoreDefect
from gatehouse_server.stores.redis import RedisStore

from tests.stores.records import DELETED, create
from tests.stores.redis_server import RedisServer, free_port

OpenRedis = Callable[..., RedisStore]
SOON_SECONDS = 0.4
"""For tests that wait until Redis is given up."""


def test_without_redis_these_tests_fail_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are not skipped: what is not run is not known to work."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="apt install redis-server"):
        RedisServer(tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://localhost",
        "redis://:sesame/x@localhost",
        "redis://localhost:99999/0",
        "redis://localhost/sesame",
        "redis://..:6379/0",
        "redis://localhost:6379/0?nonsense=1",
        "redis://localhost:6379/0?db=x",
    ],
)
def test_an_address_that_cannot_be_is_told(url: str) -> None:
    """In one line that says what is expected, and has nothing in it that may be part of a password."""
    with pytest.raises(
        StoreDefect, match=r"^the address of the state store .+ redis://HOST:PORT/DB.+$"
    ) as defect:
        RedisStore(url)
    assert "sesame" not in str(defect.value)
    assert len(str(defect.value).splitlines()) == 1


def test_a_redis_that_is_not_there_is_told(redis_server: RedisServer, tmp_path: Path) -> None:
    """By its place and by what to do, over TCP, TLS and a socket in the file system."""
    redis_server.kill()
    for url in (
        redis_server.url,
        redis_server.url.replace("redis:", "rediss:"),
        f"unix://{tmp_path}/none.sock",
    ):
        with pytest.raises(StoreDefect, match=r"cannot be reached: .+; start it, or correct the address"):
            RedisStore(url)


def test_a_redis_that_does_not_answer_is_told(redis_server: RedisServer) -> None:
    """After the timeout."""
    redis_server.pause()
    with pytest.raises(StoreDefect, match=rf"did not answer within {SOON_SECONDS} s; start it"):
        RedisStore(redis_server.url, timeout_seconds=SOON_SECONDS)


def test_a_wrong_password_is_told_and_not_shown(
    redis_server: RedisServer, raw_redis: Any, open_redis: OpenRedis
) -> None:
    """None, a wrong one, one where none is wanted; the right one opens."""
    with pytest.raises(StoreDefect, match=r"refused user or password"):
        RedisStore(f"redis://:opensesame@127.0.0.1:{redis_server.port}/0")
    raw_redis.config_set("requirepass", "opensesame")
    for user in ("", ":wrongsesame@"):
        with pytest.raises(
            StoreDefect, match=r"refused user or password: .+; put them into its address"
        ) as defect:
            RedisStore(f"redis://{user}127.0.0.1:{redis_server.port}/0")
        assert "sesame" not in str(defect.value)
    assert open_redis(f"redis://:opensesame@127.0.0.1:{redis_server.port}/0").count() == 0


def test_a_redis_over_a_socket_file_is_a_store(tmp_path: Path) -> None:
    """unix:// with the database in the query."""
    path = tmp_path / "redis.sock"
    with RedisServer(tmp_path, {"unixsocket": str(path)}):
        store = RedisStore(f"unix://{path}?db=3")
        create(store, "a")
        assert store.count() == 1
        store.close()


def test_a_redis_that_drops_keys_when_it_is_full_is_refused(
    raw_redis: Any, redis_server: RedisServer, open_redis: OpenRedis
) -> None:
    """Where it could drop ours: policies that leave keys without a time to live are fine, and those without limit."""
    raw_redis.config_set("maxmemory-policy", "allkeys-lru")
    open_redis()
    raw_redis.config_set("maxmemory", "100mb")
    with pytest.raises(StoreDefect, match=r"drops sessions .*allkeys-lru.* noeviction"):
        RedisStore(redis_server.url)
    raw_redis.config_set("maxmemory-policy", "volatile-lru")
    open_redis()


def test_a_user_who_may_not_ask_about_redis_is_served(
    raw_redis: Any, redis_server: RedisServer, open_redis: OpenRedis
) -> None:
    """Managed services forbid INFO, CONFIG and BGREWRITEAOF; the store works, and scrubbing does what it may."""
    raw_redis.acl_setuser(
        "keeper",
        enabled=True,
        passwords=["+word"],
        keys=["gatehouse:*"],
        commands=["+@all", "-info", "-@admin"],
    )
    store = open_redis(f"redis://keeper:word@127.0.0.1:{redis_server.port}/0")
    create(store, "a")
    store.remove("a", DELETED)
    store.scrub()
    assert store.look(["a"]) == [DELETED]
    raw_redis.acl_setuser("keeper", enabled=True, commands=["-@scripting"])
    with pytest.raises(StoreDefect, match=r"let the user run scripts"):
        RedisStore(f"redis://keeper:word@127.0.0.1:{redis_server.port}/0")


def test_a_cluster_is_refused(tmp_path: Path) -> None:
    """Its nodes do not keep all keys of a script."""
    with (
        RedisServer(tmp_path, {"cluster-enabled": "yes", "cluster-port": str(free_port())}) as cluster,
        pytest.raises(StoreDefect, match="is a cluster, and sessions need one Redis"),
    ):
        RedisStore(cluster.url)


def test_a_read_only_replica_is_refused(tmp_path: Path, redis_server: RedisServer) -> None:
    """It could not take a change."""
    folder = tmp_path / "replica"
    folder.mkdir()
    with (
        RedisServer(folder, {"replicaof": f"127.0.0.1 {redis_server.port}"}) as replica,
        pytest.raises(StoreDefect, match="read-only replica"),
    ):
        RedisStore(replica.url)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda raw: raw.hset("gatehouse:meta", "format", 2), r"of format 2, and this server reads up to 1"),
        (lambda raw: raw.hset("gatehouse:meta", "format", "x"), r"damaged: gatehouse:meta cannot be read"),
        (lambda raw: raw.hdel("gatehouse:meta", "secret"), r"damaged: gatehouse:meta cannot be read"),
        (
            lambda raw: raw.hset("gatehouse:meta", "secret", "short"),
            r"damaged: gatehouse:meta cannot be read",
        ),
        (lambda raw: raw.hdel("gatehouse:meta", "store"), r"damaged: gatehouse:meta cannot be read"),
        (lambda raw: raw.delete("gatehouse:meta"), r"there are sessions, and gatehouse:meta is missing"),
        (lambda raw: raw.set("gatehouse:meta", "x"), r"refused: .*WRONGTYPE.*; use another database"),
        (lambda raw: raw.delete("gatehouse:ids"), r"of 1 sessions its indexes list 0 and 1"),
        (lambda raw: raw.delete("gatehouse:expiry"), r"of 1 sessions its indexes list 1 and 0"),
        (
            lambda raw: raw.delete("gatehouse:expiry", "gatehouse:ids"),
            r"of 1 sessions its indexes list 0 and 0",
        ),
    ],
)
def test_a_damaged_or_newer_store_is_never_opened_as_an_empty_one(
    open_redis: OpenRedis,
    raw_redis: Any,
    redis_server: RedisServer,
    damage: Callable[[Any], object],
    message: str,
) -> None:
    """It is told in one line, and nothing is written to it."""
    create(open_redis(), "a")
    damage(raw_redis)
    before = {key: raw_redis.dump(key) for key in raw_redis.scan_iter()}
    with pytest.raises(StoreDefect, match=message) as defect:
        RedisStore(redis_server.url)
    assert len(str(defect.value).splitlines()) == 1
    assert {key: raw_redis.dump(key) for key in raw_redis.scan_iter()} == before
