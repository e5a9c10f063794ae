"""Which event loop the server runs on: uvloop where it is installed, else asyncio's own.

On uvloop, streams with one operation in a message take the event loop a tenth less time, or better
(docs/decisions.md). It does not exist for Windows, and nothing depends on it.
"""

from __future__ import annotations

import asyncio
import importlib.util


def new_event_loop() -> asyncio.AbstractEventLoop:
    """An event loop for the server."""
    if importlib.util.find_spec("uvloop") is None:
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()


def name_of(loop: asyncio.AbstractEventLoop) -> str:
    """What to call a loop in the log: the package that it comes from."""
    return type(loop).__module__.partition(".")[0]
