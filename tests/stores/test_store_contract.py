"""What every state store does, sentence by sentence of the port."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import pytest
from gatehouse_server.stores.port import Change, SessionStore, StoredSession, StoreFailure, Summary, Tombstone

from tests.stores.records import HEAD, PARTS, content, create, creation, saving, summary

Factory = Callable[..., SessionStore]
DELETED = Tombstone(why="SESSION_DELETED", request_id="delete-1")
DAY_SECONDS = 86_400.0


def sized(change: Change, size_bytes: int) -> Summary:
    """The summary that a store tells of a record after that change."""
    return replace(change.summary, size_bytes=size_bytes)


def size_of(head: bytes, parts: dict[str, bytes]) -> int:
    """What a summary counts."""
    return len(head) + sum(map(len, parts.values()))


# --- making records


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
    standing = _looked(store)
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
    assert _looked(store).revision == 2
    assert content(store) == (b"new head", {**PARTS, "more": b"more"})


def test_creating_again_with_more_writes_what_is_new(store: SessionStore) -> None:
    """A creation whose answer was lost may have grown when it is sent again; the record is then the grown one."""
    store.apply([creation()])
    grown = replace(
        creation(), summary=replace(creation().summary, revision=2), head=b"grown", parts={"more": b"more"}
    )
    assert store.apply([grown]) == [grown.summary]
    assert _looked(store).revision == 2
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
    assert _looked(store).size_bytes == 1


# --- changing records


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
        assert _looked(store).size_bytes == size_of(head, parts)
    store.apply([saving(revision=9, dropped=("state 0", "state 1", "state 2", "state", "tape"))])
    assert _looked(store).size_bytes == len(b"new head")


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
    standing = _looked(store)
    assert store.apply([saving(revision=4, parts={"state": b"old"}, dropped=("tape",))]) == [standing]
    assert store.claim(["a"], owner="me", incarnation=1) == [
        StoredSession(summary=standing, head=HEAD, parts=PARTS)
    ]


@pytest.mark.parametrize("incarnation", [1, 3])
def test_a_change_of_another_life_changes_nothing(store: SessionStore, incarnation: int) -> None:
    """Neither an earlier nor a later incarnation than the record's may write, whatever its revision."""
    create(store, "a", incarnation=2)
    standing = _looked(store)
    assert store.apply([saving(incarnation=incarnation, revision=99, dropped=("tape",))]) == [standing]
    assert content(store) == (HEAD, PARTS)


def test_a_change_of_another_owner_changes_nothing(store: SessionStore) -> None:
    """Only the record's owner may write it."""
    create(store, "a")
    standing = _looked(store)
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
    assert answers[3] == _looked(store)
    assert content(store) == (b"new head", {**PARTS, "t": b"2"})


def test_a_record_of_many_parts_comes_back_whole(store: SessionStore) -> None:
    """A long tape is thousands of parts, put in one change or in many."""
    parts = {f"tape {index}": str(index).encode() for index in range(3000)}
    store.apply([Change(summary=summary(), head=HEAD, parts=parts, creates=True)])
    assert content(store) == (HEAD, parts)
    more = {f"more {index}": b"m" for index in range(3000)}
    store.apply([saving(head=HEAD, parts=more, dropped=tuple(parts))])
    assert content(store) == (HEAD, more)


# --- claiming


def test_the_owner_claims_without_a_new_life(store: SessionStore) -> None:
    """Claiming one's own record changes nothing, however high the incarnation that is asked for."""
    create(store, "a", incarnation=2)
    standing = _looked(store)
    whole = StoredSession(summary=standing, head=HEAD, parts=PARTS)
    assert store.claim(["a"], owner="me", incarnation=9) == [whole]
    assert store.look(["a"]) == [standing]


@pytest.mark.parametrize(("wanted", "becomes"), [(1, 6), (5, 6), (6, 6), (9, 9)])
def test_a_claim_by_another_begins_a_new_life(store: SessionStore, wanted: int, becomes: int) -> None:
    """The incarnation becomes the wanted one, or one more than it was when that is higher; nothing else changes."""
    create(store, "a", incarnation=5, revision=3, position=8, request_id="create-1")
    standing = _looked(store)
    claimed = replace(standing, owner="you", incarnation=becomes)
    answer = store.claim(["a"], owner="you", incarnation=wanted)
    assert answer == [StoredSession(summary=claimed, head=HEAD, parts=PARTS)]
    assert store.look(["a"]) == [claimed]


def test_after_a_claim_only_the_new_owner_writes(store: SessionStore) -> None:
    """The owner before is refused and told who has it; claiming it back begins one more life."""
    create(store, "a")
    store.claim(["a"], owner="you", incarnation=1)
    (refused,) = store.apply([saving()])
    assert refused == _looked(store)
    assert isinstance(refused, Summary)
    assert (refused.owner, refused.incarnation) == ("you", 2)
    theirs = saving(owner="you", incarnation=2)
    assert store.apply([theirs]) == [theirs.summary]
    (back,) = store.claim(["a"], owner="me", incarnation=1)
    assert isinstance(back, StoredSession)
    assert (back.summary.owner, back.summary.incarnation, back.head) == ("me", 3, b"new head")


def test_claims_are_answered_in_their_order(store: SessionStore) -> None:
    """Records, tombstones and unknown identifiers in one call, one of them twice."""
    create(store, "a", "gone")
    store.remove("gone", DELETED)
    answers = store.claim(["unknown", "a", "gone", "a"], owner="you", incarnation=1)
    assert answers[0] is None
    assert answers[2] == DELETED
    assert isinstance(answers[1], StoredSession)
    assert answers[1].summary.incarnation == 2
    assert answers[3] == answers[1]
    assert store.claim([], owner="me", incarnation=1) == []


# --- looking


def test_looking_changes_nothing(store: SessionStore) -> None:
    """Summaries, tombstones and None, in the order of the question; the owner stays."""
    create(store, "a", "gone")
    store.remove("gone", DELETED)
    first = store.look(["gone", "unknown", "a", "a"])
    assert first[:2] == [DELETED, None]
    assert isinstance(first[2], Summary)
    assert first[2] == first[3]
    assert first[2].owner == "me"
    assert store.look(["gone", "unknown", "a", "a"]) == first
    assert store.look([]) == []


# --- removing


def test_removing_erases_and_leaves_the_tombstone(store: SessionStore) -> None:
    """What stood there is told; afterwards the tombstone is, with the request that ended the session."""
    create(store, "a", "b")
    standing = _looked(store)
    assert store.remove("a", DELETED) == standing
    assert store.look(["a"]) == [DELETED]
    assert store.claim(["a"], owner="me", incarnation=1) == [DELETED]
    assert store.count() == 1
    assert [each.session_id for each in store.after("", 10)] == ["b"]


@pytest.mark.parametrize("why", ["SESSION_EXPIRED", "SESSION_DELETED", "SESSION_EVICTED"])
def test_every_ending_is_kept(store: SessionStore, why: str) -> None:
    """With and without a request."""
    create(store, "a", "b")
    with_request, without = Tombstone(why=why, request_id="r-1"), Tombstone(why=why)  # type: ignore[arg-type]
    store.remove("a", with_request)
    store.remove("b", without)
    assert store.look(["a", "b"]) == [with_request, without]


def test_removing_again_tells_the_tombstone_and_keeps_it(store: SessionStore) -> None:
    """A repeated deletion finds what the first one left; another one does not replace it."""
    create(store, "a")
    store.remove("a", DELETED)
    assert store.remove("a", Tombstone(why="SESSION_EVICTED", request_id="other")) == DELETED
    assert store.remove("a", DELETED, incarnation=1) == DELETED
    assert store.look(["a"]) == [DELETED]
    assert store.count() == 0


def test_removing_the_unknown_leaves_nothing(store: SessionStore) -> None:
    """No tombstone without a record."""
    assert store.remove("a", DELETED) is None
    assert store.look(["a"]) == [None]


def test_removing_one_life_leaves_another_alone(store: SessionStore) -> None:
    """With an incarnation only the record of that one goes; the answer tells what stands there."""
    create(store, "a", incarnation=2)
    standing = _looked(store)
    for other in (1, 3):
        assert store.remove("a", DELETED, incarnation=other) == standing
        assert store.look(["a"]) == [standing]
        assert content(store) == (HEAD, PARTS)
    assert store.remove("a", DELETED, incarnation=2) == standing
    assert store.look(["a"]) == [DELETED]


# --- listing


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


# --- expiry


def test_records_whose_time_is_up_are_erased(store: SessionStore) -> None:
    """Those due at that moment go and leave a tombstone that says so; those due later stay."""
    now = time.time()
    create(store, "long due", expires_unix_seconds=now - 5.0)
    create(store, "just due", expires_unix_seconds=now)
    create(store, "later", expires_unix_seconds=now + 0.5)
    assert store.expire(now, 10) == 2
    expired = Tombstone(why="SESSION_EXPIRED")
    assert store.look(["long due", "just due"]) == [expired, expired]
    assert [each.session_id for each in store.after("", 10)] == ["later"]
    assert store.count() == 1
    assert store.expire(now, 10) == 0


def test_expiry_goes_by_the_latest_change(store: SessionStore) -> None:
    """A write puts it off."""
    now = time.time()
    create(store, "a", expires_unix_seconds=now)
    store.apply([saving(expires_unix_seconds=now + 9.0)])
    assert store.expire(now + 8.0, 10) == 0
    assert store.expire(now + 9.0, 10) == 1


def test_expiry_is_bounded(store: SessionStore) -> None:
    """At most `limit` go at a time, the longest due first, until all are gone."""
    now = time.time()
    for index in range(7):
        create(store, f"s{index}", expires_unix_seconds=now - index)
    assert store.expire(now, 3) == 3
    assert [each.session_id for each in store.after("", 10)] == ["s0", "s1", "s2", "s3"]
    assert store.expire(now, 3) == 3
    assert store.expire(now, 3) == 1
    assert store.expire(now, 3) == 0
    assert store.count() == 0


def test_tombstones_are_forgotten_after_a_day(store_factory: Factory) -> None:
    """Neither those of deletions nor those of expiry are told any more, and not before."""
    now = time.time()
    store = store_factory(clock=lambda: now)
    create(store, "deleted", "kept")
    create(store, "expired", expires_unix_seconds=now)
    store.remove("deleted", DELETED)
    store.expire(now, 10)
    store.apply([saving("kept", expires_unix_seconds=now + 3 * DAY_SECONDS)])
    store.expire(now + DAY_SECONDS - 60.0, 10)
    assert store.look(["deleted", "expired"]) == [DELETED, Tombstone(why="SESSION_EXPIRED")]
    store.expire(now + DAY_SECONDS + 60.0, 10)
    assert store.look(["deleted", "expired"]) == [None, None]
    assert store.count() == 1


# --- the store as a whole


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


def test_of_claims_at_the_same_time_each_begins_its_own_life(store_factory: Factory) -> None:
    """Threads with a store each claim one record again and again: all incarnations differ. For shared stores."""
    first = store_factory()
    if not first.shared:
        pytest.skip("this store has one user at a time")
    create(first, "a")
    stores = [store_factory() for _ in range(4)]

    def claims(number: int) -> list[int]:
        found = [
            stores[number].claim(["a"], owner=f"{number} {turn}", incarnation=1)[0] for turn in range(25)
        ]
        return [each.summary.incarnation for each in found if isinstance(each, StoredSession)]

    with ThreadPoolExecutor(len(stores)) as pool:
        lives = [life for each in pool.map(claims, range(len(stores))) for life in each]
    assert sorted(lives) == list(range(2, 102))
    assert _looked(first).incarnation == 101


def test_scrubbing_changes_no_record(store: SessionStore) -> None:
    """Nor does it hinder what comes after it."""
    create(store, "a", "b")
    store.remove("b", DELETED)
    before = store.look(["a", "b"])
    store.scrub()
    store.scrub()
    assert store.look(["a", "b"]) == before
    assert content(store) == (HEAD, PARTS)
    assert store.apply([saving()]) == [saving().summary]


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
        store.scrub,
    ]
    for call in calls:
        with pytest.raises(StoreFailure) as failure:
            call()
        assert str(failure.value)
        assert len(str(failure.value).splitlines()) == 1


def _looked(store: SessionStore, session_id: str = "a") -> Summary:
    (found,) = store.look([session_id])
    assert isinstance(found, Summary)
    return found
