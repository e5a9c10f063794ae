"""What every state store does where records are changed, sentence by sentence of the port."""

import pytest
from gatehouse_server.stores.port import Change, SessionStore, StoredSession

from tests.stores.records import (
    DELETED,
    HEAD,
    PARTS,
    content,
    create,
    creation,
    looked,
    saving,
    size_of,
    sized,
    summary,
)


def test_a_change_replaces_head_and_summary_and_puts_and_drops_parts(store: SessionStore) -> None:
    """Parts that the change does not name stay as they are."""
    create(store, "a", request_id="create-1")
    change = saving(
        head=b"second",
        parts={"state": b"state of 5", "new": b"n"},
        dropped=("tape", "never there"),
        model="keyboard/2",
        expires_unix_seconds=3e9,
        request_id="create-2",
    )
    assert store.apply([change]) == [change.summary]
    parts = {"state": b"state of 5", "new": b"n"}
    assert content(store) == (b"second", parts)
    assert store.look(["a"]) == [sized(change, size_of(b"second", parts))]
    store.apply([saving(revision=3)])
    assert content(store) == (b"new head", parts)


def test_size_is_told_by_the_store(store: SessionStore) -> None:
    """However a change claims to be large, the size is that of head and parts after many changes."""
    create(store, "a", size_bytes=99)
    for revision in range(2, 9):
        name = f"state {revision % 3}"
        store.apply(
            [saving(revision=revision, head=b"h" * revision, parts={name: b"s" * revision}, size_bytes=5)]
        )
        head, parts = content(store)
        assert looked(store).size_bytes == size_of(head, parts)
    store.apply([saving(revision=9, dropped=("state 0", "state 1", "state 2", "state", "tape"))])
    assert looked(store).size_bytes == len(b"new head")


def test_the_same_revision_may_be_written_again(store: SessionStore) -> None:
    """A change applied twice leaves what it leaves applied once; another one of the same revision is applied too."""
    create(store, "a")
    change = saving(parts={"new": b"n"}, dropped=("tape",))
    assert store.apply([change]) == [change.summary]
    once = store.claim(["a"], owner="me", incarnation=1)
    assert store.apply([change]) == [change.summary]
    assert store.claim(["a"], owner="me", incarnation=1) == once
    later = saving(head=b"touched")
    assert store.apply([later]) == [later.summary]
    assert content(store)[0] == b"touched"


def test_a_stale_revision_changes_nothing(store: SessionStore) -> None:
    """A change of a lower revision than the record's answers with the record."""
    create(store, "a", revision=5)
    standing = looked(store)
    assert store.apply([saving(revision=4, parts={"state": b"old"}, dropped=("tape",))]) == [standing]
    assert store.claim(["a"], owner="me", incarnation=1) == [
        StoredSession(summary=standing, head=HEAD, parts=PARTS)
    ]


@pytest.mark.parametrize("incarnation", [1, 3])
def test_a_change_of_another_life_changes_nothing(store: SessionStore, incarnation: int) -> None:
    """Neither an earlier nor a later incarnation than the record's may write, whatever its revision."""
    create(store, "a", incarnation=2)
    standing = looked(store)
    assert store.apply([saving(incarnation=incarnation, revision=99, dropped=("tape",))]) == [standing]
    assert content(store) == (HEAD, PARTS)


def test_a_change_of_another_owner_changes_nothing(store: SessionStore) -> None:
    """Only the record's owner may write it."""
    create(store, "a")
    standing = looked(store)
    assert store.apply([saving(owner="you", revision=99, dropped=("tape",))]) == [standing]
    assert content(store) == (HEAD, PARTS)


def test_a_change_of_no_record_is_told_and_makes_none(store: SessionStore) -> None:
    """Where nothing stands, or a tombstone, the answer is None, and the tombstone stays."""
    create(store, "gone")
    store.remove("gone", DELETED)
    assert store.apply([saving("unknown"), saving("gone")]) == [None, None]
    assert store.look(["unknown", "gone"]) == [None, DELETED]
    assert store.count() == 0


def test_many_changes_are_answered_in_their_order_each_by_itself(store: SessionStore) -> None:
    """Of a batch those that may be applied are, and the others do not stand in their way."""
    create(store, "stale", revision=5)
    create(store, "theirs", owner="you")
    stale, theirs = store.look(["stale", "theirs"])
    changes = [creation("new"), saving("stale"), saving("unknown"), saving("theirs"), creation("newer")]
    expected = [changes[0].summary, stale, None, theirs, changes[4].summary]
    assert store.apply(changes) == expected
    assert store.count() == 4
    assert store.apply([]) == []


def test_changes_of_one_record_in_a_batch_follow_each_other(store: SessionStore) -> None:
    """A record may be made and changed in the same batch; a stale one after that is refused."""
    made, first, second = (
        creation(),
        saving(parts={"s": b"1"}),
        saving(revision=3, parts={"t": b"2"}, dropped=("s",)),
    )
    answers = store.apply([made, first, second, saving(revision=2, parts={"t": b"stale"})])
    assert answers[:3] == [made.summary, first.summary, second.summary]
    assert answers[3] == looked(store)
    assert content(store) == (b"new head", {**PARTS, "t": b"2"})


def test_a_record_of_many_parts_comes_back_whole(store: SessionStore) -> None:
    """A long tape is thousands of parts, put in one change or in many."""
    parts = {f"tape {index}": str(index).encode() for index in range(3000)}
    store.apply([Change(summary=summary(), head=HEAD, parts=parts, creates=True)])
    assert content(store) == (HEAD, parts)
    more = {f"more {index}": b"m" for index in range(3000)}
    store.apply([saving(head=HEAD, parts=more, dropped=tuple(parts))])
    assert content(store) == (HEAD, more)
