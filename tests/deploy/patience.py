"""Waiting for what has to come about in another process."""

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

T = TypeVar("T")


def until(look: Callable[[], T], what: str, seconds: float = 60.0) -> T:
    """Looks again and again until what it sees is true. Fails the test after `seconds`."""
    end = time.monotonic() + seconds
    while not (seen := look()):
        if time.monotonic() > end:
            pytest.fail(f"after {seconds:.0f} s it is still not true that {what}")
        time.sleep(0.2)
    return seen
