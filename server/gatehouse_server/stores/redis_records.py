"""Records as redis_scripts takes and gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast, get_args

from gatehouse_server.stores.port import Change, Ending, StoredSession, StoreFailure, Summary, Tombstone
from gatehouse_server.stores.redis_link import Argument
from gatehouse_server.stores.redis_scripts import FIELDS

_PART = b"part:"


def change_arguments(change: Change) -> list[Argument]:
    """What APPLY takes for a change, from its session's identifier on."""
    summary = change.summary
    requests = [] if summary.request_id is None else [summary.request_id]
    arguments: list[Argument] = [
        summary.session_id,
        int(change.creates),
        summary.model,
        summary.owner,
        summary.incarnation,
        summary.revision,
        summary.position,
        repr(summary.expires_unix_seconds),
        len(requests),
        len(change.dropped),
        len(change.parts),
        change.head,
        *requests,
        *change.dropped,
    ]
    for name, content in change.parts.items():
        arguments += (name, content)
    follows = None if change.follows is None else (*change.follows, summary.revision)
    arguments.append("" if follows is None else f",{','.join(map(str, follows))},")
    return arguments


def summary_of(session_id: str, fields: Sequence[bytes | None]) -> Summary:
    """The summary that stands in FIELDS. Raises StoreFailure when they are damaged."""
    try:
        model, owner, incarnation, revision, position, expires, request, size = (
            None if field is None else field.decode() for field in fields
        )
        if model is None or owner is None or expires is None:
            raise ValueError("fields are missing")
        return Summary(
            session_id=session_id,
            model=model,
            owner=owner,
            incarnation=int(incarnation or ""),
            revision=int(revision or ""),
            position=int(position or ""),
            expires_unix_seconds=float(expires),
            request_id=request,
            size_bytes=int(size or ""),
        )
    except ValueError as error:
        raise StoreFailure(f"the record of session {session_id!r} in Redis is damaged: {error}") from error


def stored(session_id: str, pairs: Sequence[bytes]) -> StoredSession:
    """The record in a whole hash, names and contents in turn. Raises StoreFailure when it is damaged."""
    record: Mapping[bytes, bytes] = dict(zip(pairs[::2], pairs[1::2], strict=True))
    summary = summary_of(session_id, [record.get(name.encode()) for name in FIELDS])
    parts = {
        name.removeprefix(_PART).decode(): content
        for name, content in record.items()
        if name.startswith(_PART)
    }
    if b"head" not in record or len(record[b"head"]) + sum(map(len, parts.values())) != summary.size_bytes:
        raise StoreFailure(f"the record of session {session_id!r} in Redis is damaged: contents are missing")
    return StoredSession(summary=summary, head=record[b"head"], parts=parts)


def tombstone_text(tombstone: Tombstone) -> str:
    """The tombstone in a word, with the request after a colon if there was one."""
    return tombstone.why if tombstone.request_id is None else f"{tombstone.why}:{tombstone.request_id}"


def tombstone_of(text: bytes) -> Tombstone:
    """The tombstone of that text. Raises StoreFailure when it is damaged."""
    why, colon, request_id = text.decode(errors="replace").partition(":")
    if why not in get_args(Ending):
        raise StoreFailure(f"a tombstone in Redis is damaged: {why!r} is no reason")
    return Tombstone(why=cast("Ending", why), request_id=request_id if colon else None)


def standing(session_id: str, reply: Sequence[Any]) -> Summary | Tombstone | None:
    """What a reply of a kind says stands there. Raises StoreFailure when that is damaged."""
    match reply:
        case [b"record", fields]:
            return summary_of(session_id, fields)
        case [b"tombstone", text]:
            return tombstone_of(text)
    return None
