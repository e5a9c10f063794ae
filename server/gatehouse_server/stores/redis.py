"""Sessions in a Redis, shared by the servers that name the same one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from gatehouse_server.stores.port import Change, StoredSession, StoreFailure, Summary, Tombstone
from gatehouse_server.stores.redis_link import Argument, not_allowed
from gatehouse_server.stores.redis_opening import linked, open_store
from gatehouse_server.stores.redis_records import (
    change_arguments,
    standing,
    stored,
    summary_of,
    tombstone_text,
)
from gatehouse_server.stores.redis_scripts import AFTER, APPLY, CLAIM, COUNT, EXPIRE, LOOK, PROBE, REMOVE

TOMBSTONE_SECONDS = 86_400.0
MOST_TOMBSTONES = 1_000_000

# A rewrite of the log copies all of Redis: not more than one in this time, whoever asks.
_REWRITE_SECONDS = 3_600
# Redis serves nobody else while a script runs: a few milliseconds.
_ERASED_AT_ONCE = 500
_FORGOTTEN_AT_ONCE = 5_000


class RedisStore:
    """The store in one database of one Redis 6 or newer (or what speaks its language), under keys of one prefix.

    Not for Redis Cluster: a script touches the keys of a session and the indexes, which a cluster keeps apart. What
    is answered survives this process, and Redis's own end as far as Redis writes to disk (`appendonly yes`:
    everything but the last second with `appendfsync everysec`, everything with `always`; a failover loses what the
    replica had not got yet). Redis must not drop keys when it is full: maxmemory-policy noeviction or volatile-*.

    After a broken connection a call is repeated once where that does no harm: not for creations and removals, since
    in between another server may have removed or created the session. A call takes up to `timeout_seconds` for
    sending and for each reply. Errors are those of the port; afterwards the store works again when Redis does.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "gatehouse",
        timeout_seconds: float = 2.0,
        clock: Callable[[], float] = time.time,
        most_tombstones: int = MOST_TOMBSTONES,
    ) -> None:
        """`url` is redis://, rediss:// or unix:// as redis-py understands it. Raises StoreDefect: Redis is not
        reached, refuses, is of a kind that loses sessions, or holds something damaged or too new under the prefix.
        """
        self._clock = clock
        self._most_tombstones = most_tombstones
        self._prefix = prefix
        names = ("meta", "ids", "expiry", "tombs", "burials")
        self._keys = tuple(f"{prefix}:{name}" for name in names)
        self._link = linked(url, prefix=prefix, timeout_seconds=timeout_seconds)
        try:
            self._opened = open_store(self._link, self._keys)
        except BaseException:
            self._link.close()
            raise
        # Another process may have erased something and ended before its scrub.
        self._erased = True

    @property
    def shared(self) -> bool:
        return True

    @property
    def secret(self) -> bytes:
        return self._opened.secret

    def apply(self, changes: Sequence[Change]) -> list[Summary | None]:
        """As the port says, in one round trip."""
        replies = self._run(
            APPLY,
            [(change.summary.session_id, change_arguments(change)) for change in changes],
            repeatable=not any(change.creates for change in changes),
        )
        return [_applied(change.summary, reply) for change, reply in zip(changes, replies, strict=True)]

    def claim(
        self, session_ids: Sequence[str], *, owner: str, incarnation: int
    ) -> list[StoredSession | Tombstone | None]:
        """As the port says, in one round trip. Claiming twice finds the record one's own, and changes nothing."""
        calls = [(session_id, (session_id, owner, incarnation)) for session_id in session_ids]
        return [
            _claimed(session_id, reply)
            for session_id, reply in zip(session_ids, self._run(CLAIM, calls), strict=True)
        ]

    def look(self, session_ids: Sequence[str]) -> list[Summary | Tombstone | None]:
        """As the port says, in one round trip."""
        replies = self._run(LOOK, [(session_id, (session_id,)) for session_id in session_ids])
        return [standing(session_id, reply) for session_id, reply in zip(session_ids, replies, strict=True)]

    def remove(
        self, session_id: str, tombstone: Tombstone, *, incarnation: int | None = None
    ) -> Summary | Tombstone | None:
        """As the port says. Not repeated: it could take away what was created in between."""
        only = () if incarnation is None else (incarnation,)
        arguments = (session_id, tombstone_text(tombstone), repr(self._clock()), *only)
        self._erased = True
        (reply,) = self._run(REMOVE, [(session_id, arguments)], repeatable=False)
        return standing(session_id, reply)

    def after(self, session_id: str, limit: int) -> list[Summary]:
        """As the port says, in one round trip, as of one moment."""
        (page,) = self._run(AFTER, [(None, (self._session_key(""), session_id, limit))])
        return [summary_of(each.decode(), fields) for each, fields in page]

    def expire(self, now_unix_seconds: float, limit: int) -> int:
        """As the port says, in portions that hold Redis up for milliseconds; up to 5,000 tombstones are forgotten
        with each.
        """
        tombstone = tombstone_text(Tombstone(why="SESSION_EXPIRED"))
        oldest = repr(now_unix_seconds - TOMBSTONE_SECONDS)
        erased = 0
        while True:
            most = max(0, min(limit - erased, _ERASED_AT_ONCE))
            arguments = (
                repr(now_unix_seconds),
                most,
                tombstone,
                oldest,
                self._most_tombstones,
                _FORGOTTEN_AT_ONCE,
            )
            (portion,) = self._run(EXPIRE, [(None, (self._session_key(""), *arguments))])
            erased += int(portion)
            self._erased = self._erased or portion > 0
            if portion < most or erased >= limit:
                return erased

    def count(self) -> int:
        """As the port says, at once."""
        (number,) = self._run(COUNT, [(None, ())])
        return int(number)

    def probe(self) -> None:
        """As the port says, in one round trip."""
        self._run(PROBE, [(None, (repr(self._clock()),))])

    def scrub(self) -> None:
        """Has Redis rewrite its append-only file when something was erased, at most once an hour for all servers on
        it; until then the erased content stands in that file. Call it now and then: one that comes too early leaves
        the work to a later one.

        The rest is the operator's: RDB snapshots, backups and files of replicas hold what was erased until they
        are made anew. So does the append-only file where the user of this server may not run BGREWRITEAOF; Redis's
        own auto-aof-rewrite-percentage rewrites it there when it has grown.
        """
        try:
            facts: dict[str, Any] = self._link.call("INFO", "persistence")
            busy = facts.get("aof_rewrite_in_progress") or facts.get("aof_rewrite_scheduled")
            self._erased |= facts.get("aof_last_bgrewrite_status") == "err"
            if not facts.get("aof_enabled") or not self._erased or busy:
                return
            # The first to set it rewrites; Redis forgets it in time.
            if self._link.call("SET", f"{self._prefix}:rewritten", 1, "NX", "EX", _REWRITE_SECONDS):
                self._link.call("BGREWRITEAOF")
                self._erased = False
        except StoreFailure as failure:
            if not not_allowed(failure):
                raise

    def close(self) -> None:
        """Disconnects. Never raises."""
        self._link.close()

    def _session_key(self, session_id: str) -> str:
        return f"{self._prefix}:session:{session_id}"

    def _run(
        self, script: str, calls: Sequence[tuple[str | None, Sequence[Argument]]], *, repeatable: bool = True
    ) -> list[Any]:
        """Runs a script for sessions, or for all of them (None), with the store's name before the arguments."""
        if not calls:
            return []
        return self._link.run(
            script,
            [
                (
                    self._keys if session_id is None else (*self._keys, self._session_key(session_id)),
                    (self._opened.store, *arguments),
                )
                for session_id, arguments in calls
            ],
            repeatable=repeatable,
        )


def _applied(summary: Summary, reply: Sequence[Any]) -> Summary | None:
    """The change's own summary, or what stands there instead."""
    if reply[0] == b"applied":
        return summary
    there = standing(summary.session_id, reply)
    return there if isinstance(there, Summary) else None


def _claimed(session_id: str, reply: Sequence[Any]) -> StoredSession | Tombstone | None:
    """The whole record, or what stands there instead."""
    if reply[0] == b"whole":
        return stored(session_id, reply[1])
    there = standing(session_id, reply)
    assert not isinstance(there, Summary), "a record is given whole"
    return there
