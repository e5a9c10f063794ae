"""The operations under way on a multiplexed online stream: tags, what waits to be sent, who waits for which
answer.

No I/O and no waiting; each twin guards it with its own kind of lock and brings its own kind of future.
"""

from __future__ import annotations

import time
from typing import Generic, TypeVar

import grpc
from google.rpc import status_pb2

from gatehouse import failures, requests
from gatehouse.channel import MAX_MESSAGE_BYTES
from gatehouse.errors import MessageTooLargeError
from gatehouse.v1 import online_pb2

F = TypeVar("F")

_MAX_OPERATIONS_PER_MESSAGE = 1024
_MAX_MESSAGE_BYTES = 512 * 1024
# With room for what stands around it in a message of its own.
_MAX_OPERATION_BYTES = MAX_MESSAGE_BYTES - 1024

# Servers answer within milliseconds, and who waits for longer than this waits in vain most likely: a line may be dead
# although its connection lives. It bounds what that costs, whatever the cause.
_LONGEST_SILENCE_SECONDS = 5.0
# Less is no sign, even if somebody's time is up: a server that collects its garbage comes back.
_SHORTEST_SILENCE_SECONDS = 0.5
SILENT = "nothing came over the stream any more, so it is opened again"
"""What those are told who wait when a line is given up."""


class StreamClosedError(RuntimeError):
    """The stream was closed before; nothing was sent."""

    def __init__(self) -> None:
        super().__init__("the stream is closed")


class Exchange(Generic[F]):
    """Operations by tag, on one line (an opening of the stream) after the other. Whatever waits goes into the next
    message together.
    """

    def __init__(self) -> None:
        self._last_tag = 0
        # With their timeouts in seconds and their sizes in bytes.
        self._waiting: dict[int, tuple[online_pb2.SessionWrite | online_pb2.TextSuggestion, float, int]] = {}
        self._unanswered: dict[int, F] = {}
        # Since when the line owes an answer and gives none, be it to somebody who has left meanwhile.
        self._silent_since: float | None = None
        self._patient = False

    def submit(
        self,
        operation: online_pb2.SessionWrite | online_pb2.TextSuggestion,
        timeout_seconds: float,
        future: F,
    ) -> int:
        """Puts an operation into the queue; its tag is answered. It must not change until it was answered.

        MessageTooLargeError when it fits into no message: gRPC would end the stream for it, and for all others.
        """
        size_bytes = operation.ByteSize()
        if size_bytes > _MAX_OPERATION_BYTES:
            raise MessageTooLargeError(
                f"{failures.NEVER_SENT} larger than max ({size_bytes} vs. {_MAX_OPERATION_BYTES})"
            )
        self._last_tag += 1
        tag = self._last_tag
        self._waiting[tag] = operation, timeout_seconds, size_bytes
        self._unanswered[tag] = future
        if self._silent_since is None:
            self._silent_since = time.monotonic()
        return tag

    def has_waiting(self) -> bool:
        """True when `next_request` has a message."""
        return bool(self._waiting)

    def next_request(self) -> online_pb2.StreamRequest:
        """All operations that wait, in the order they came, up to the size of a message."""
        request = online_pb2.StreamRequest()
        add = request.operations.add
        size = 0
        taken: list[int] = []
        for tag, (operation, timeout_seconds, size_bytes) in self._waiting.items():
            size += size_bytes
            if taken and (size > _MAX_MESSAGE_BYTES or len(taken) == _MAX_OPERATIONS_PER_MESSAGE):
                break
            # Copied here and nowhere else. The copy alone gets the timeout, which is another at each attempt.
            envelope = add()
            envelope.tag = tag
            if isinstance(operation, online_pb2.SessionWrite):
                envelope.write.CopyFrom(operation)
                requests.set_timeout(envelope.write, timeout_seconds)
            else:
                envelope.suggest.CopyFrom(operation)
                requests.set_timeout(envelope.suggest, timeout_seconds)
            taken.append(tag)
        if len(taken) == len(self._waiting):
            self._waiting.clear()
        else:
            for tag in taken:
                del self._waiting[tag]
        return request

    def claim(self, tag: int) -> F | None:
        """Who waits for the answer with this tag, which has come; None when nobody does any more."""
        future = self._unanswered.pop(tag, None)
        self._silent_since = time.monotonic() if self._unanswered else None
        self._patient = False
        return future

    def forget(self, tag: int) -> None:
        """Nobody waits for this answer any more."""
        self._waiting.pop(tag, None)
        self._unanswered.pop(tag, None)

    def patience_seconds(self, timeout_seconds: float) -> float:
        """How long to wait for an answer, of the time there is, before asking whether the line is silent.

        All of it on a line in place of a silent one, until something came: it may be that the server needs so long.
        """
        return timeout_seconds if self._patient else min(timeout_seconds, _LONGEST_SILENCE_SECONDS)

    def is_silent(self, waited_seconds: float) -> bool:
        """True when nothing came while somebody waited so long. Then the line is to be given up."""
        if self._silent_since is None:
            return False
        # Timers are not exact; they may be early.
        silent_seconds = max(0.9 * waited_seconds, _SHORTEST_SILENCE_SECONDS)
        return time.monotonic() - self._silent_since >= silent_seconds

    def abandon(self, *, silent: bool = False) -> list[F]:
        """The line broke, or was given up since it was silent: everybody who waits, to be told so."""
        left = list(self._unanswered.values())
        self._waiting.clear()
        self._unanswered.clear()
        self._silent_since = None
        self._patient = silent
        return left


def broken(status: status_pb2.Status) -> online_pb2.StreamResult:
    """What operations get whose stream ended with `status` (code OK: the server ended it) before their
    answer.

    Nothing is known of them, so whatever the stream ended with is UNAVAILABLE to them and they are repeated;
    unless the server does not know the call or does not let this client in, or the client was closed, which no
    repetition mends.
    """
    lasting = (
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
    )
    if status == failures.client_closed_status() or any(status.code == code.value[0] for code in lasting):
        return online_pb2.StreamResult(status=status)
    unavailable = grpc.StatusCode.UNAVAILABLE.value[0]
    message = status.message or "the server ended the stream"
    return online_pb2.StreamResult(status=status_pb2.Status(code=unavailable, message=message))
