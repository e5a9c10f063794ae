"""Threads that share a tick end together, whatever happens in one of them."""

import threading

import pytest
from gatehouse_server.engine.tiles import TileWorkers


class Tiled:
    """Stands for programs: only the size of their tiles matters here."""

    tile_rows = 128


def test_tiles_cover_all_rows_in_order_and_none_is_too_large():
    """One thread or several: every row is in one tile, and results come in the order of the rows."""
    for threads in (1, 2, 3):
        workers = TileWorkers([Tiled() for _ in range(threads)])
        for rows in (1, 15, 16, 33, 128, 129, 300, 1000):
            tiles = workers.map(rows, lambda programs, begin, end: (begin, end))
            assert [row for begin, end in tiles for row in range(begin, end)] == list(range(rows))
            assert max(end - begin for begin, end in tiles) <= Tiled.tile_rows


@pytest.mark.parametrize("refused", [1, 2], ids=["first thread", "second thread"])
def test_work_that_found_no_thread_is_not_done_later(refused, monkeypatch):
    """A tick whose threads cannot all be started fails when the others have ended; a later tick does only its own."""
    workers = TileWorkers([Tiled() for _ in range(3)])
    start, begun, known, of_first, of_second = threading.Thread.start, [], threading.Event(), [], []

    def start_some(thread):
        begun.append(thread)
        if len(begun) == refused:
            known.set()
            raise RuntimeError("can't start new thread")
        start(thread)

    def first(programs, begin, end):
        assert known.wait(10)
        of_first.append((begin, end))

    monkeypatch.setattr(threading.Thread, "start", start_some)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        workers.map(90, first)
    assert of_first == [(30, 60)][: refused - 1]
    workers.map(90, lambda programs, begin, end: of_second.append((begin, end)))
    assert of_first == [(30, 60)][: refused - 1]
    assert sorted(of_second) == [(0, 30), (30, 60), (60, 90)]


@pytest.mark.parametrize("breaking", [0, 1], ids=["own thread", "another thread"])
def test_a_failed_tick_has_ended_in_every_thread(breaking):
    """The failure is told when nothing is written any more: the tick's rows are then somebody else's."""
    programs = [Tiled(), Tiled()]
    failed, ended = threading.Event(), []

    def compute(which, begin, end):
        if which is programs[breaking]:
            failed.set()
            raise RuntimeError("broken")
        assert failed.wait(10)
        ended.append((begin, end))

    with pytest.raises(RuntimeError, match="broken"):
        TileWorkers(programs).map(200, compute)
    assert len(ended) == 1
