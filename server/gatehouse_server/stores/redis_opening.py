"""What must hold before a Redis is used as a store, and what is made there at first use."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis

from gatehouse_server.errors import StoreDefect
from gatehouse_server.stores.port import StoreFailure
from gatehouse_server.stores.redis_link import RedisLink, not_allowed
from gatehouse_server.stores.redis_scripts import OPEN

FORMAT = 1
"""Version of what redis_scripts describes. Raised when an older server could misread a newer one's records."""

_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The store that was found or made: its name, by which scripts know it again, and its secret."""

    store: str
    secret: bytes


def linked(url: str, *, prefix: str, timeout_seconds: float) -> RedisLink:
    """The link for a url; it is not connected yet. Raises StoreDefect, without the password in it."""
    try:
        return RedisLink(url, prefix=prefix, timeout_seconds=timeout_seconds)
    except (ValueError, TypeError, OverflowError, redis.RedisError) as error:
        raise StoreDefect(
            "the address of the state store cannot be used: expected redis://HOST:PORT/DB, rediss://HOST:PORT/DB "
            f"or unix://PATH?db=DB; {' '.join(str(error).split())}"
        ) from error


def open_store(link: RedisLink, keys: Sequence[str]) -> Opened:
    """Checks the Redis behind `link` and the store under `keys` (meta, ids, expiry, tombs, burials), which is made
    when there is nothing yet. Raises StoreDefect.
    """
    try:
        _check_server(link)
        fresh: tuple[int, str, bytes] = (FORMAT, secrets.token_hex(8), secrets.token_bytes(_SECRET_BYTES))
        # Repeating is harmless: the second time finds what the first made.
        ((meta, session_count, expiry_count, kept),) = link.run(OPEN, [(keys, fresh)], repeatable=True)
    except StoreFailure as failure:
        raise StoreDefect(f"{failure}; {_advice(failure.__cause__)}") from failure
    return _opened(link, keys[0], meta, session_count, expiry_count, kept)


def _check_server(link: RedisLink) -> None:
    """Refuses a Redis that would lose sessions or cannot take them. Where it does not tell about itself, as services
    that manage it for their customers may forbid, it is taken as it is.
    """
    try:
        facts: dict[str, Any] = link.call("INFO")
    except StoreFailure as failure:
        if not_allowed(failure):
            return
        raise
    if facts.get("cluster_enabled"):
        raise StoreDefect(
            f"Redis at {link.place} is a cluster, and sessions need one Redis: name one that is not (replicas of it "
            "for failover are fine)"
        )
    if facts.get("role") == "slave":
        raise StoreDefect(f"Redis at {link.place} is a read-only replica: name the one that it copies")
    # Our keys have no time to live, so that volatile-* policies leave them alone.
    policy = str(facts.get("maxmemory_policy", ""))
    if policy.startswith("allkeys-") and facts.get("maxmemory"):
        raise StoreDefect(
            f"Redis at {link.place} drops sessions when it is full (maxmemory-policy {policy}): set it to noeviction"
        )


def _opened(
    link: RedisLink, meta_key: str, meta: list[bytes | None], session_count: int, expiry_count: int, kept: int
) -> Opened:
    """What meta says, if it fits what lies beside it. Raises StoreDefect."""
    where = f"Redis at {link.place}"
    written, store, secret, sessions = meta
    if written is not None and written.isdigit() and int(written) > FORMAT:
        raise StoreDefect(
            f"{where}: what lies there is of format {int(written)}, and this server reads up to {FORMAT}: run a newer "
            "server, or use another database"
        )
    if kept and written is store is secret is sessions is None:
        raise StoreDefect(
            f"{where} is damaged: there are sessions, and {meta_key} is missing. Restore it from a backup, or use "
            "another database"
        )
    readable = written == b"%d" % FORMAT and store and sessions is not None and sessions.isdigit()
    if not readable or store is None or sessions is None or secret is None or len(secret) != _SECRET_BYTES:
        raise StoreDefect(
            f"{where} is damaged: {meta_key} cannot be read. Restore it from a backup, or use another database"
        )
    if not int(sessions) == session_count == expiry_count:
        raise StoreDefect(
            f"{where} is damaged: of {int(sessions)} sessions its indexes list {session_count} and {expiry_count}. "
            "Restore it from a backup, or use another database"
        )
    return Opened(store=store.decode("ascii", "replace"), secret=secret)


def _advice(cause: BaseException | None) -> str:
    """What to do when Redis could not be asked."""
    match cause:
        case redis.AuthenticationError() | redis.exceptions.AuthorizationError():
            return "put them into its address, as redis://USER:PASSWORD@HOST:PORT/DB"
        case redis.BusyLoadingError():
            return "try again when it has"
        case redis.exceptions.NoPermissionError():
            return "let the user run scripts (@scripting), read and write the keys of sessions"
        case redis.ResponseError():
            return "use another database, or clear away what is under these keys"
    return "start it, or correct the address of the state store"
