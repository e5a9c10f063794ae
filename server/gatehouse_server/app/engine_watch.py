"""An eye on the engine's thread, from the event loop."""

from __future__ import annotations

import asyncio

import structlog

from gatehouse_server.engine.loop import Engine

_log = structlog.get_logger(__name__)

_LOOK_SECONDS = 1.0


async def until_it_fails(
    engine: Engine, *, stuck_turn_seconds: float, look_seconds: float = _LOOK_SECONDS
) -> None:
    """Returns when the thread has failed. Tells, once for each, of a turn that does not end, and where it is."""
    told = False
    while engine.failure is None:
        seconds = engine.stuck_for_seconds()
        is_stuck = seconds > stuck_turn_seconds
        if is_stuck and not told:
            _log.critical("the engine is stuck", seconds=round(seconds, 1), stack=engine.stack())
        told = is_stuck
        await asyncio.sleep(look_seconds)
    _log.critical("the engine failed", exc_info=engine.failure)
