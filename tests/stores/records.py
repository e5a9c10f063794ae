"""Records that the tests of the stores write, and what a store tells of them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gatehouse_server.stores.port import Change, SessionStore, StoredSession, Summary, Tombstone

HEAD = b"head"
EXPIRES_UNIX_SECONDS = 4_000_000_000.0
PARTS = {"state": b"state of 0", "tape": b"tape of 0"}
DELETED = Tombstone(why="SESSION_DELETED", request_id="delete-1")


def summary(session_id: str = "a", **fields: Any) -> Summary:
    """A summary of revision 1, incarnation 1, owned by `me`, good for a lifetime."""
    return Summary(
        **{
            "session_id": session_id,
            "model": "keyboard/1",
            "owner": "me",
            "incarnation": 1,
            "revision": 1,
            "position": 0,
            "expires_unix_seconds": EXPIRES_UNIX_SECONDS,
            "request_id": None,
            **fields,
        }
    )


def creation(session_id: str = "a", **fields: Any) -> Change:
    """Makes a record with `HEAD` and `PARTS`."""
    return Change(summary=summary(session_id, **fields), head=HEAD, parts=PARTS, creates=True)


def saving(
    session_id: str = "a",
    *,
    head: bytes = b"new head",
    parts: dict[str, bytes] | None = None,
    dropped: tuple[str, ...] = (),
    **fields: Any,
) -> Change:
    """Writes the next revision of such a record."""
    fields = {"revision": 2, "position": 5, **fields}
    return Change(summary=summary(session_id, **fields), head=head, parts=parts or {}, dropped=dropped)


def create(store: SessionStore, *session_ids: str, **fields: Any) -> None:
    """Puts records into the store."""
    changes = [creation(each, **fields) for each in session_ids]
    assert store.apply(changes) == [change.summary for change in changes]


def content(store: SessionStore, session_id: str = "a", owner: str = "me") -> tuple[bytes, dict[str, bytes]]:
    """Head and parts of a record of that owner, read without changing it."""
    (found,) = store.claim([session_id], owner=owner, incarnation=1)
    assert isinstance(found, StoredSession)
    return found.head, dict(found.parts)


def looked(store: SessionStore, session_id: str = "a") -> Summary:
    """The summary of a record that is there."""
    (found,) = store.look([session_id])
    assert isinstance(found, Summary)
    return found


def sized(change: Change, size_bytes: int) -> Summary:
    """The summary that a store tells of a record after that change."""
    return replace(change.summary, size_bytes=size_bytes)


def size_of(head: bytes, parts: Mapping[str, bytes]) -> int:
    """What a summary counts."""
    return len(head) + sum(map(len, parts.values()))
