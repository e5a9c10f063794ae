"""Ending all sessions of a model that are in memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from gatehouse_server.errors import SessionNotFound
from gatehouse_server.models.model import LoadedModel
from gatehouse_server.sessions.operations import DescribeResidents, EvictSession, ListResidents
from gatehouse_server.sessions.results import ResidentIds, SessionLines

_PAGE_SESSIONS = 200
"""How many sessions are looked up and ended at a time: in between, users get their turn."""

_MOST_PASSES = 100


class Evictor:
    """`ask` has the engine do an operation."""

    def __init__(self, ask: Callable[[object], Coroutine[Any, Any, object]]) -> None:
        self._ask = ask

    async def evict_all(self, model: LoadedModel) -> int:
        """Ends the sessions of a model on which none begins any more; how many. Those that were made of them meanwhile
        are ended in another pass.
        """
        evicted = 0
        for _ in range(_MOST_PASSES):
            ended = await self._pass(model)
            evicted += ended
            if not ended:
                break
        return evicted

    async def _pass(self, model: LoadedModel) -> int:
        residents = await self._ask(ListResidents())
        assert isinstance(residents, ResidentIds)
        ended = 0
        for begin in range(0, len(residents.session_ids), _PAGE_SESSIONS):
            page = residents.session_ids[begin : begin + _PAGE_SESSIONS]
            found = await self._ask(DescribeResidents(session_ids=page))
            assert isinstance(found, SessionLines)
            doomed = [
                line.session_id
                for line in found.lines
                # The arithmetic may stand behind the content's fingerprint.
                if line.model == model.key and line.fingerprint.partition("+")[0] == model.fingerprint
            ]
            ended += sum(await asyncio.gather(*map(self._end, doomed)))
        return ended

    async def _end(self, session_id: str) -> bool:
        with contextlib.suppress(SessionNotFound):  # it ended by itself
            await self._ask(EvictSession(session_id=session_id))
            return True
        return False
