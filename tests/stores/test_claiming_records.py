"""What every state store does where records are claimed and looked at, sentence by sentence of the port."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from gatehouse_server.stores.port import SessionStore, StoredSession, Summary

from tests.stores.records import DELETED, HEAD, PARTS, create, looked, saving

Factory = Callable[..., SessionStore]


def test_the_owner_claims_without_a_new_life(store: SessionStore) -> None:
    """Claiming one's own record changes nothing, however high the incarnation that is asked for."""
    create(store, "a", incarnation=2)
    standing = looked(store)
    whole = StoredSession(summary=standing, head=HEAD, parts=PARTS)
    assert store.claim(["a"], owner="me", incarnation=9) == [whole]
    assert store.look(["a"]) == [standing]


@pytest.mark.parametrize(("wanted", "becomes"), [(1, 6), (5, 6), (6, 6), (9, 9)])
def test_a_claim_by_another_begins_a_new_life(store: SessionStore, wanted: int, becomes: int) -> None:
    """The incarnation becomes the wanted one, or one more than it was when that is higher; nothing else changes."""
    create(store, "a", incarnation=5, revision=3, position=8, request_id="create-1")
    standing = looked(store)
    claimed = replace(standing, owner="you", incarnation=becomes)
    answer = store.claim(["a"], owner="you", incarnation=wanted)
    assert answer == [StoredSession(summary=claimed, head=HEAD, parts=PARTS)]
    assert store.look(["a"]) == [claimed]


def test_after_a_claim_only_the_new_owner_writes(store: SessionStore) -> None:
    """The owner before is refused and told who has it; claiming it back begins one more life."""
    create(store, "a")
    store.claim(["a"], owner="you", incarnation=1)
    (refused,) = store.apply([saving()])
    assert refused == looked(store)
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
    assert looked(first).incarnation == 101
