"""What a client keeps of its own writes."""

from __future__ import annotations

import pytest
from gatehouse import history
from gatehouse.history import History
from gatehouse.v1 import online_pb2


def _write(revision: int, size: int = 1) -> online_pb2.SessionWrite:
    return online_pb2.SessionWrite(session_id="s", revision=revision, text="x" * size)


def _filled(count: int, *, keeps_many: bool = True, size: int = 1) -> History:
    kept = History(revision=0, position=0, keeps_many=keeps_many)
    for revision in range(1, count + 1):
        kept.add(_write(revision, size), position=10 * revision)
    return kept


def _revisions(kept: History, upto: int) -> list[int]:
    return [revision for revision in range(upto + 1) if kept.at(revision) is not None]


def test_what_is_durable_goes_but_for_the_newest() -> None:
    """Of five writes with three durable the third stays as a proof, and the two that may get lost."""
    kept = _filled(5)
    kept.note_durable(3)
    assert _revisions(kept, 6) == [3, 4, 5]
    kept.note_durable(2)
    assert _revisions(kept, 6) == [3, 4, 5]
    kept.note_durable(5)
    assert _revisions(kept, 6) == [5]


def test_positions_are_known_of_the_beginning_and_of_what_is_kept() -> None:
    """The revision at which the client began has a position although nobody here wrote it."""
    kept = History(revision=7, position=70, keeps_many=True)
    kept.add(_write(8), position=71)
    assert [kept.position_at(revision) for revision in (6, 7, 8, 9)] == [None, 70, 71, None]


def test_a_server_without_a_store_needs_the_last_write_only() -> None:
    """What loses everything or nothing cannot be told again: nothing but the last write is kept."""
    assert _revisions(_filled(5, keeps_many=False), 6) == [5]


def test_the_number_of_writes_is_bounded() -> None:
    """The oldest of more than 4096 writes go."""
    kept = _filled(history.MAX_WRITES + 10)
    assert (kept.at(10), kept.at(11) is not None) == (None, True)


def test_the_size_of_writes_is_bounded() -> None:
    """Writes of a megabyte: what exceeds four goes, and later ones have room again for what is smaller."""
    kept = _filled(6, size=1024 * 1024)
    assert _revisions(kept, 7) == [4, 5, 6]
    for revision in (7, 8, 9):
        kept.add(_write(revision), position=1)
    assert _revisions(kept, 10) == [4, 5, 6, 7, 8, 9]


def test_the_last_write_stays_whatever_its_size() -> None:
    """A single write beyond the bound is kept: it proves whose tape it is."""
    assert _revisions(_filled(2, size=history.MAX_BYTES), 3) == [2]


@pytest.mark.parametrize("revision", [1, 4])
def test_there_are_no_gaps(revision: int) -> None:
    """A write that does not follow the last one begins anew."""
    kept = _filled(2)
    kept.add(_write(revision), position=5)
    assert _revisions(kept, 5) == [revision]
