"""Continuations as they are generated (the twin of `gatehouse.generation`)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType
from typing import Self

from grpc import aio

from gatehouse.aio.waiting import grpc_failures
from gatehouse.errors import GatehouseError
from gatehouse.generated import Continuations, GeneratedStep, GenerationEnd
from gatehouse.results import SessionState
from gatehouse.trace_context import trace_context
from gatehouse.v1 import online_pb2, online_pb2_grpc


class Generation:
    """One or more continuations of a sequence: iterate over it for their steps, as the server makes them.

    The server goes on no further than its steps are read, and holds the states of the continuations until then: leave
    it as a context manager, or call `cancel`, when it is not read to its end.
    """

    def __init__(
        self,
        stub: online_pb2_grpc.OnlineServiceAsyncStub,
        request: online_pb2.GenerateRequest,
        *,
        timeout_seconds: float,
    ) -> None:
        self._stub = stub
        self._request = request
        self._timeout_seconds = timeout_seconds
        self._made = Continuations(request.alternatives)
        self._steps = self._read()
        self._call: aio.UnaryStreamCall[online_pb2.GenerateRequest, online_pb2.GenerateResponse] | None = None
        self._cancelled = False

    def __aiter__(self) -> AsyncIterator[GeneratedStep]:
        return self._steps

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.cancel()

    @property
    def texts(self) -> tuple[str, ...]:
        """The text of each continuation so far."""
        return self._made.texts

    @property
    def ends(self) -> tuple[GenerationEnd, ...]:
        """The continuations that have ended."""
        return self._made.ends

    @property
    def state(self) -> SessionState | None:
        """Where the session stands, once everything was read; None without a session."""
        return self._made.state

    async def cancel(self) -> None:
        """Has the server stop, and ends the loop over the steps. Does nothing at the end."""
        self._cancelled = True
        if self._call is not None:
            self._call.cancel()

    async def _read(self) -> AsyncGenerator[GeneratedStep, None]:
        if self._cancelled:
            return
        call = self._call = self._stub.Generate(
            self._request, timeout=self._timeout_seconds, metadata=trace_context()
        )
        responses = aiter(call)
        try:
            while True:
                with grpc_failures():
                    response = await anext(responses, None)
                if response is None:
                    return
                for step in self._made.take(response):
                    yield step
        except GatehouseError:
            if not self._cancelled:
                raise
        finally:
            call.cancel()
