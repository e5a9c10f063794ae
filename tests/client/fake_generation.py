"""The fake server's generations: the likeliest word each time, or the one after it for each further alternative."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator

import grpc
from gatehouse.v1 import online_pb2, online_pb2_grpc

from tests.client import fake_model
from tests.client.fake_session import FakeSession
from tests.client.fake_status import Refusal, abort, refusal


class FakeGeneration(online_pb2_grpc.OnlineServiceServicer):
    """`generations` are the requests; `ended` is set when the last one has come to an end, however. With `holds_on` a
    generation waits after its first message until nobody reads it any more. `break_after` messages the connection
    breaks.
    """

    calls: Counter[str]
    sessions: dict[str, FakeSession]
    waiting: threading.Semaphore

    def __init__(self) -> None:
        self.generations: list[online_pb2.GenerateRequest] = []
        self.ended = threading.Event()
        self.holds_on = False
        self.break_after: int | None = None

    def Generate(  # noqa: N802  # the name is the contract's
        self, request: online_pb2.GenerateRequest, context: grpc.ServicerContext
    ) -> Iterator[online_pb2.GenerateResponse]:
        self.calls["OnlineService.Generate"] += 1
        self.generations.append(request)
        self.ended.clear()
        gone = threading.Event()
        context.add_callback(gone.set)
        try:
            if request.max_steps > 1000:
                raise refusal(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    "at most 1000",
                    reason="INVALID_INPUT",
                    field="max_steps",
                )
            for number, response in enumerate(self._responses(request)):
                if number == self.break_after:
                    context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
                yield response
                if self.holds_on:
                    self.waiting.release()
                    gone.wait(10)
        except Refusal as error:
            abort(context, error)
        finally:
            self.ended.set()

    def _responses(self, request: online_pb2.GenerateRequest) -> Iterator[online_pb2.GenerateResponse]:
        session = self.sessions.get(request.session_id)
        begin = [] if session is None else list(session.tape)
        begin += fake_model.encode(request.text) if request.text else list(request.tokens.ids)
        tapes = [list(begin) for _ in range(request.alternatives)]
        totals = [0.0] * len(tapes)
        going_on = set(range(len(tapes)))
        for number in range(request.max_steps or 32):
            response = online_pb2.GenerateResponse()
            for alternative in sorted(going_on):
                tape = tapes[alternative]
                ranked = [entry for entry in fake_model.best(tape, 10) if entry[0] != fake_model.UNKNOWN_ID]
                token, value = ranked[alternative]
                totals[alternative] += value
                reason = online_pb2.GENERATION_END_REASON_UNSPECIFIED
                if token == fake_model.END_ID or token in request.stop_ids:
                    reason = online_pb2.GENERATION_END_REASON_STOP
                else:
                    word = fake_model.VOCABULARY[token]
                    response.steps.add(
                        alternative=alternative,
                        position=len(tape),
                        token_id=token,
                        text=f" {word}" if tape else word,
                        log_probability=value,
                    )
                    tape.append(token)
                    if number + 1 == (request.max_steps or 32):
                        reason = online_pb2.GENERATION_END_REASON_LENGTH
                if reason:
                    going_on.remove(alternative)
                    response.ends.add(
                        alternative=alternative, reason=reason, log_probability=totals[alternative]
                    )
            if not going_on and session is not None:
                if request.advance:
                    session.tape = tapes[0]
                    session.revision += 1
                response.state.CopyFrom(session.state())
            yield response
            if not going_on:
                return
