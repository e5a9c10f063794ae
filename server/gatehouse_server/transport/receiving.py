"""How the bytes of requests become messages. gRPC alone would answer bad ones by itself: uncounted, and with a
traceback in the log for each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc.aio
from google.protobuf.message import DecodeError

from gatehouse_server.errors import InvalidInput
from gatehouse_server.telemetry.request_metrics import RequestMetrics
from gatehouse_server.transport.status import abort_with

Deserializer = Callable[[bytes], Any]


class Receiving:
    """Reads the requests of one method; those that cannot be read are counted."""

    def __init__(self, deserializer: Deserializer | None, metrics: RequestMetrics) -> None:
        self._deserializer = deserializer
        self._metrics = metrics

    def decoded(self, raw: bytes) -> Any:
        """The message. Raises InvalidInput for bytes that are none."""
        if self._deserializer is None:
            return raw
        try:
            return self._deserializer(raw)
        except DecodeError as error:
            self._metrics.unreadable("undecodable")
            raise InvalidInput("the bytes of the request are no message of this method") from error

    async def only(self, context: Any) -> Any:
        """The one message of a call, which is to be handled as one that streams requests.

        Raises InvalidInput as `decoded` does, AbortError when the caller sent none, and CancelledError when the call
        ended before it was there: it is larger than it may be, which gRPC answers, or the caller left.
        """
        raw = await context.read()
        if raw is not grpc.aio.EOF:
            return self.decoded(raw)
        try:
            await abort_with(context, InvalidInput("expected a message, got none", reason="EMPTY_INPUT"))
        except grpc.aio.AbortError:
            self._metrics.unreadable("undecodable")
            raise
        except Exception as error:  # the connection takes no status: the call is over
            self._metrics.unreadable("incomplete")
            raise asyncio.CancelledError from error
