"""What every state store does where records are made, sentence by sentence of the port."""

from dataclasses import replace

from gatehouse_server.stores.port import Change, SessionStore, StoredSession, Summary, Tombstone

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


def test_a_created_record_is_there_whole(store: SessionStore) -> None:
    """Creating answers with the change's own summary; claiming gives head, parts, and the summary with the size."""
    change = creation(request_id="create-1", position=7, expires_unix_seconds=3e9 + 0.5)
    assert store.apply([change]) == [change.summary]
    whole = StoredSession(summary=sized(change, size_of(HEAD, PARTS)), head=HEAD, parts=PARTS)
    assert store.claim(["a"], owner="me", incarnation=1) == [whole]


def test_records_are_kept_byte_for_byte(store: SessionStore) -> None:
    """Heads and parts may be empty, may be large and may hold any byte; a record may have no parts at all."""
    parts = {"empty": b"", "every byte": bytes(range(256)) * 1024, "newline\n": b"\r\n\0"}
    odd = Change(summary=summary("odd"), head=b"\0\xff\r\n", parts=parts, creates=True)
    bare = Change(summary=summary("bare"), head=b"", parts={}, creates=True)
    assert store.apply([odd, bare]) == [odd.summary, bare.summary]
    assert content(store, "odd") == (odd.head, parts)
    assert content(store, "bare") == (b"", {})
    assert store.look(["odd", "bare"]) == [sized(odd, size_of(odd.head, parts)), sized(bare, 0)]


def test_large_numbers_are_kept(store: SessionStore) -> None:
    """Incarnations, revisions and positions up to 2**53 - 1 and times of a fraction of a second come back exactly."""
    most = 2**53 - 1
    change = creation(
        incarnation=most, revision=most, position=most, expires_unix_seconds=3_800_000_000.015625
    )
    assert store.apply([change]) == [change.summary]
    assert store.look(["a"]) == [sized(change, size_of(HEAD, PARTS))]


def test_identifiers_of_all_printable_characters_are_kept_apart(store: SessionStore) -> None:
    """Case, spaces, quotes, wildcards, separators and prefixes make different records."""
    names = [
        "a",
        "A",
        "a ",
        "aa",
        "a:b",
        "a/b",
        "a*",
        "a?",
        "a%",
        "a_",
        "a{b}",
        "[a]",
        "'a'",
        '"a"',
        "\\a",
        "~" * 256,
    ]
    create(store, *names)
    assert store.count() == len(names)
    assert [found.session_id for found in store.look(names) if isinstance(found, Summary)] == names
    store.remove("a*", DELETED)
    assert store.count() == len(names) - 1


def test_a_record_of_somebody_else_is_not_created_over(store: SessionStore) -> None:
    """Creating where another owner's record stands answers with that one and leaves it as it is."""
    create(store, "a")
    other = Change(
        summary=summary(owner="you", revision=9, model="other/1"),
        head=b"other",
        parts={"x": b"y"},
        creates=True,
    )
    standing = sized(creation(), size_of(HEAD, PARTS))
    assert store.apply([other]) == [standing]
    assert content(store) == (HEAD, PARTS)
    assert store.count() == 1


def test_a_record_of_another_life_is_not_created_over(store: SessionStore) -> None:
    """The same owner in another incarnation is another creation."""
    create(store, "a", incarnation=2)
    standing = looked(store)
    assert store.apply([creation(incarnation=3)]) == [standing]
    assert store.apply([creation(incarnation=1)]) == [standing]


def test_creating_again_counts_as_applied_and_takes_nothing_back(store: SessionStore) -> None:
    """A creation whose answer was lost may be sent again, even after later writes: these stay."""
    again = creation()
    assert store.apply([again]) == [again.summary]
    assert store.apply([again]) == [again.summary]
    assert store.count() == 1
    store.apply([saving(parts={"more": b"more"})])
    assert store.apply([again]) == [again.summary]
    assert looked(store).revision == 2
    assert content(store) == (b"new head", {**PARTS, "more": b"more"})


def test_creating_again_with_more_writes_what_is_new(store: SessionStore) -> None:
    """A creation whose answer was lost may have grown when it is sent again; the record is then the grown one."""
    store.apply([creation()])
    grown = replace(
        creation(), summary=replace(creation().summary, revision=2), head=b"grown", parts={"more": b"more"}
    )
    assert store.apply([grown]) == [grown.summary]
    assert looked(store).revision == 2
    assert content(store) == (b"grown", {**PARTS, "more": b"more"})
    assert store.count() == 1


def test_a_change_is_made_only_to_the_record_it_was_made_for(store: SessionStore) -> None:
    """Also when the record went back: a store that lost something must not be left with half of a record."""
    create(store, "a", revision=3)
    for follows, applied in (((2,), False), ((2, 4), False), ((), False), ((2, 3), True), ((3,), True)):
        change = replace(saving(revision=5), follows=follows)
        (outcome,) = store.apply([change])
        assert outcome is not None
        assert outcome.revision == (5 if applied else 3)
    assert content(store)[0] == b"new head"


def test_creating_takes_the_tombstone_away(store: SessionStore) -> None:
    """An identifier may live again; once it is removed anew only the new reason is told."""
    create(store, "a")
    store.remove("a", DELETED)
    create(store, "a")
    assert isinstance(store.look(["a"])[0], Summary)
    evicted = Tombstone(why="SESSION_EVICTED")
    store.remove("a", evicted)
    assert store.look(["a"]) == [evicted]


def test_a_new_record_has_nothing_of_the_one_before(store: SessionStore) -> None:
    """Parts go with their record."""
    create(store, "a")
    store.remove("a", DELETED)
    bare = Change(summary=summary(), head=b"", parts={"other": b"1"}, creates=True)
    store.apply([bare])
    assert content(store) == (b"", {"other": b"1"})
    assert looked(store).size_bytes == 1
