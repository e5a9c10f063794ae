"""Classifying a stream of documents with bounded memory (the twin of `gatehouse.aio.classification`).

Three threads share a `Flight`: one takes documents from the caller's iterable, one keeps a stream to the
server (and gRPC's own thread sends on it), and the caller's takes results. Each waits while there is no room
or nothing to do.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any, Generic

import grpc

from gatehouse import documents, failures
from gatehouse.calls import ResponseStream
from gatehouse.conversation import Request, Response, ResultT
from gatehouse.documents import Document
from gatehouse.errors import ClientClosedError, DeadlineExceededError, GatehouseError, UnavailableError
from gatehouse.flight import Flight
from gatehouse.patience import pauses
from gatehouse.trace_context import trace_context


class ClassificationStream(Generic[ResultT]):
    """Iterate over it once for the results. It ends its threads when the iteration ends, however it ends; the one that
    waits for the caller's iterable just then, as soon as that goes on.
    """

    def __init__(
        self,
        method: grpc.StreamStreamMultiCallable[Any, Any],
        flight: Flight[ResultT],
        *,
        connect_seconds: float,
        silence_seconds: float,
    ) -> None:
        self._method = method
        self._metadata = trace_context()
        self._flight = flight
        self._connect_seconds = connect_seconds
        self._silence_seconds = silence_seconds
        self._changed = threading.Condition()
        self._call: ResponseStream[Response] | None = None
        self._failure: BaseException | None = None
        self._trouble: GatehouseError | None = None
        self._answers = 0
        self._opened = False
        self._closed = False

    def results(self, source: Iterable[Document | tuple[str, str]]) -> Iterator[ResultT]:
        """The results, as `Client.classify` describes them."""
        threading.Thread(
            target=self._take_in, args=(source,), name="gatehouse-documents", daemon=True
        ).start()
        threading.Thread(target=self._keep_connected, name="gatehouse-results", daemon=True).start()
        try:
            while (result := self._next_result()) is not None:
                yield result
        finally:
            with self._changed:
                self._closed = True
                call = self._call
                self._changed.notify_all()
            if call is not None:
                call.cancel()

    def _next_result(self) -> ResultT | None:
        started = time.monotonic()
        with self._changed:
            while not self._flight.has_ready():
                if self._failure is not None:
                    raise self._failure
                if self._flight.finished():
                    return None
                if not self._flight.has_unanswered():
                    started = time.monotonic()  # It is the caller's iterable that is silent.
                remaining = started + self._patience_seconds() - time.monotonic()
                if remaining <= 0:
                    raise self._trouble or DeadlineExceededError(
                        f"no result within {self._silence_seconds:g} s while documents are under way"
                    )
                self._changed.wait(remaining)
            result = self._flight.take()
            self._changed.notify_all()
            return result

    def _patience_seconds(self) -> float:
        # A server that never answered at all is missed sooner than one that has gone away for a while.
        never_there = self._trouble is not None and self._answers == 0
        return min(self._connect_seconds, self._silence_seconds) if never_there else self._silence_seconds

    def _take_in(self, source: Iterable[Document | tuple[str, str]]) -> None:
        try:
            for entry in source:
                with self._changed:
                    self._changed.wait_for(lambda: self._closed or self._flight.has_room())
                    if self._closed:
                        return
                    self._flight.admit(documents.of(entry))
                    self._changed.notify_all()
            with self._changed:
                self._flight.close_intake()
                self._changed.notify_all()
        except (
            BaseException
        ) as error:  # Whatever the caller's iterable raises belongs to the caller's thread.
            self._fail(error)

    def _keep_connected(self) -> None:
        pause = pauses()
        try:
            while not self._is_done():
                answers_before = self._answers
                try:
                    self._run_stream()
                except ClientClosedError:
                    raise
                except UnavailableError as error:
                    self._trouble = error
                if self._answers > answers_before:
                    pause = pauses()
                with self._changed:
                    self._flight.start_over()
                    if self._is_done():
                        return
                    self._changed.wait_for(lambda: self._closed, next(pause))
        except BaseException as error:
            self._fail(error)

    def _run_stream(self) -> None:
        """One stream until it ends. UnavailableError when it broke or the server goes away."""
        stop = threading.Event()
        with self._changed:
            if self._closed:
                return
            try:
                call = self._call = self._method(self._requests(stop), metadata=self._metadata)
            except ValueError as error:  # the client is closed
                if not self._opened:
                    raise
                raise failures.client_closed() from error
            self._opened = True
        try:
            for response in call:
                with self._changed:
                    self._changed.wait_for(lambda: self._closed or self._flight.may_settle())
                    stays = self._flight.settle(response)
                    self._answers += 1
                    self._trouble = None
                    self._changed.notify_all()
                if not stays:
                    raise UnavailableError("the server is shutting down", reason="DRAINING")
        except grpc.RpcError as error:
            raise failures.from_rpc_error(error) from error
        finally:
            call.cancel()
            with self._changed:
                stop.set()
                self._changed.notify_all()

    def _requests(self, stop: threading.Event) -> Iterator[Request]:
        """What gRPC's sending thread takes: the next message whenever the previous one is out."""
        flight = self._flight
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: (
                        self._closed or stop.is_set() or flight.has_something_to_send() or flight.all_sent()
                    )
                )
                if self._closed or stop.is_set() or flight.all_sent():
                    return
                try:
                    request = flight.next_request()
                except Exception as error:  # gRPC, which runs this, would keep it to itself
                    self._failure, request = error, None
                # Documents that cannot be put on the wire have a result already.
                self._changed.notify_all()
            if request is not None:
                yield request

    def _is_done(self) -> bool:
        return self._closed or (self._flight.intake_closed() and not self._flight.has_unanswered())

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self._failure = error
            self._changed.notify_all()
