"""Rows of the state table."""

import pytest
from gatehouse_server.engine.rows import INITIAL_ROW, RowPool


def test_a_row_is_free_again_when_its_last_holder_lets_go():
    """Shared rows stay until nobody holds them."""
    pool = RowPool(2)
    row = pool.take()
    pool.share(row)
    pool.release(row)
    assert pool.in_use == 1
    pool.release(row)
    assert pool.in_use == 0
    assert pool.take() == row


def test_rows_in_use_are_never_handed_out():
    """All rows that are taken at a time differ, and none is the initial state's."""
    pool = RowPool(10)
    rows = {pool.take() for _ in range(10)}
    assert len(rows) == 10
    assert INITIAL_ROW not in rows


def test_the_initial_row_is_nobodys():
    """It can be shared and released without being counted."""
    pool = RowPool(1)
    pool.share(INITIAL_ROW)
    pool.release(INITIAL_ROW)
    pool.release(INITIAL_ROW)
    assert pool.in_use == 0


def test_releasing_a_free_row_is_a_bug_that_shows():
    """Letting go twice would hand one row to two sessions."""
    pool = RowPool(1)
    row = pool.take()
    pool.release(row)
    with pytest.raises(AssertionError):
        pool.release(row)
