"""The event loop that the server runs on."""

import importlib.util
import sys

import pytest
from gatehouse_server.app.event_loop import name_of, new_event_loop


@pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed")
def test_uvloop_is_used_where_it_is_installed() -> None:
    """Nobody has to ask for it."""
    loop = new_event_loop()
    loop.close()
    assert name_of(loop) == "uvloop"


def test_without_uvloop_asyncio_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is missing the standard library's loop is taken."""
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "uvloop" else found(name, *rest)
    )
    monkeypatch.setitem(sys.modules, "uvloop", None)
    loop = new_event_loop()
    loop.close()
    assert name_of(loop) == "asyncio"
