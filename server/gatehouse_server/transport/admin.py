"""AdminService: the sessions of all users, and which models are served, and how the server is, for operators."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

import grpc.aio
from gatehouse.v1 import admin_pb2, admin_pb2_grpc

from gatehouse_server.engine.loop import Engine
from gatehouse_server.engine.observer import Observer
from gatehouse_server.errors import InvalidInput
from gatehouse_server.sessions.operations import DescribeResidents, ListResidents, ListStored
from gatehouse_server.sessions.results import ResidentIds, SessionDeleted, SessionLine, SessionLines
from gatehouse_server.transport.fields import check_name
from gatehouse_server.transport.model_admin import fill_change
from gatehouse_server.transport.model_changes import ModelChanges
from gatehouse_server.transport.replies import ask
from gatehouse_server.transport.server_status import ServerStatus, status_message
from gatehouse_server.transport.session_decoding import decode_eviction, decode_inspection
from gatehouse_server.transport.session_lines import fill_line

PAGE_SESSIONS = 500
"""How many sessions are looked up and told at a time: in between, users get their turn."""

Request = TypeVar("Request")
Response = TypeVar("Response")
Context = grpc.aio.ServicerContext[Request, Response]


class AdminServicer(admin_pb2_grpc.AdminServiceServicer):
    """Hands operations to the engine, answers back. Failures leave as exceptions, see `interceptor`."""

    def __init__(
        self,
        *,
        engine: Engine,
        observer: Observer,
        changes: ModelChanges,
        status: Callable[[], ServerStatus],
    ) -> None:
        self._engine = engine
        self._observer = observer
        self._changes = changes
        self._status = status

    async def ListSessions(  # noqa: N802
        self,
        request: admin_pb2.ListSessionsRequest,
        context: Context[admin_pb2.ListSessionsRequest, admin_pb2.ListSessionsResponse],
    ) -> AsyncIterator[admin_pb2.ListSessionsResponse]:
        """All sessions, or those of one model. A page without any is told too: that the server goes on looking."""
        check_name(request.model, "model")
        told: set[str] = set()
        async for lines in self._residents(context):
            told.update(line.session_id for line in lines)
            yield _page(lines, request.model)
        async for lines in self._stored(context):
            yield _page([line for line in lines if line.session_id not in told], request.model)

    async def InspectSession(  # noqa: N802
        self,
        request: admin_pb2.InspectSessionRequest,
        context: Context[admin_pb2.InspectSessionRequest, admin_pb2.InspectSessionResponse],
    ) -> admin_pb2.InspectSessionResponse:
        """One session."""
        outcome = await self._ask(decode_inspection(request), context)
        assert isinstance(outcome, SessionLine)
        response = admin_pb2.InspectSessionResponse()
        fill_line(response.session, outcome)
        return response

    async def EvictSession(  # noqa: N802
        self,
        request: admin_pb2.EvictSessionRequest,
        context: Context[admin_pb2.EvictSessionRequest, admin_pb2.EvictSessionResponse],
    ) -> admin_pb2.EvictSessionResponse:
        """Ends a session."""
        outcome = await self._ask(decode_eviction(request), context)
        assert isinstance(outcome, SessionDeleted)
        return admin_pb2.EvictSessionResponse()

    async def LoadModel(  # noqa: N802
        self,
        request: admin_pb2.LoadModelRequest,
        context: Context[admin_pb2.LoadModelRequest, admin_pb2.LoadModelResponse],
    ) -> admin_pb2.LoadModelResponse:
        """Serves the model in a folder."""
        if not request.folder or "\0" in request.folder:
            raise InvalidInput.of_field(
                "folder", "expected a folder <name>/<version> of the server's machine"
            )
        response = admin_pb2.LoadModelResponse()
        fill_change(response.change, await self._changes.load(Path(request.folder)))
        return response

    async def UnloadModel(  # noqa: N802
        self,
        request: admin_pb2.UnloadModelRequest,
        context: Context[admin_pb2.UnloadModelRequest, admin_pb2.UnloadModelResponse],
    ) -> admin_pb2.UnloadModelResponse:
        """Serves a model to nobody new."""
        check_name(request.model, "model")
        change, evicted = await self._changes.unload(request.model, force=request.force)
        response = admin_pb2.UnloadModelResponse(evicted_sessions=evicted)
        fill_change(response.change, change)
        return response

    async def ReloadModels(  # noqa: N802
        self,
        request: admin_pb2.ReloadModelsRequest,
        context: Context[admin_pb2.ReloadModelsRequest, admin_pb2.ReloadModelsResponse],
    ) -> admin_pb2.ReloadModelsResponse:
        """Serves what the folders hold now."""
        response = admin_pb2.ReloadModelsResponse()
        for change in await self._changes.reload():
            fill_change(response.changes.add(), change)
        return response

    async def GetStatus(  # noqa: N802
        self,
        request: admin_pb2.GetStatusRequest,
        context: Context[admin_pb2.GetStatusRequest, admin_pb2.GetStatusResponse],
    ) -> admin_pb2.GetStatusResponse:
        """How the server is."""
        return status_message(self._status())

    async def _residents(self, context: Context[Request, Response]) -> AsyncIterator[Sequence[SessionLine]]:
        """The sessions in memory, as of now. Those that leave it meanwhile are found in the store, or are gone."""
        known = await self._ask(ListResidents(), context)
        assert isinstance(known, ResidentIds)
        session_ids = iter(known.session_ids)
        while page := tuple(islice(session_ids, PAGE_SESSIONS)):
            found = await self._ask(DescribeResidents(session_ids=page), context)
            assert isinstance(found, SessionLines)
            yield found.lines

    async def _stored(self, context: Context[Request, Response]) -> AsyncIterator[Sequence[SessionLine]]:
        """The sessions in the store, by identifier; those in memory are among them."""
        after: str | None = ""
        while after is not None:
            found = await self._ask(ListStored(after=after, limit=PAGE_SESSIONS), context)
            assert isinstance(found, SessionLines)
            yield found.lines
            after = found.last

    async def _ask(self, operation: object, context: Context[Request, Response]) -> object:
        return await ask(self._engine, self._observer, operation, remaining_seconds=context.time_remaining())


def _page(lines: Sequence[SessionLine], model: str) -> admin_pb2.ListSessionsResponse:
    """A message with the lines of a model (`name`, `name@version`, or empty for all)."""
    response = admin_pb2.ListSessionsResponse()
    for line in lines:
        if not model or model in (line.model, line.model.partition("@")[0]):
            fill_line(response.sessions.add(), line)
    return response
