"""One OnlineService.Generate: steps out as ticks finish them, computed no further than they are read.

While one message is on its way, the engine computes the next step of every continuation. The one after that is begun
when the connection has taken the message, so a slow reader stops the generation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol

from gatehouse.v1 import online_pb2

from gatehouse_server.engine.loop import Engine
from gatehouse_server.engine.observer import Happening, Observer
from gatehouse_server.errors import Draining, SessionNotFound
from gatehouse_server.sessions.continuations import (
    Continuation,
    GeneratedStep,
    GenerationEnd,
    Output,
    continuations_of,
    write_of,
)
from gatehouse_server.sessions.opened_sequences import OpenedSequences, SequenceOutput
from gatehouse_server.sessions.operations import CloseSequence, GetSession, OpenSequences, StepSequence
from gatehouse_server.sessions.results import SessionView, WriteResult
from gatehouse_server.sessions.sampling import Sampling
from gatehouse_server.telemetry.call_trace import Stage, current_trace
from gatehouse_server.transport.encoding import fill_state
from gatehouse_server.transport.gathering import submit_together

_AT_ONCE_VALUES = 65_536
"""With more outputs than these to draw from, in all continuations together, drawing would hold up the event loop."""

_ENDS = {
    "stop": (online_pb2.GENERATION_END_REASON_STOP, Happening.CONTINUATION_STOPPED),
    "length": (online_pb2.GENERATION_END_REASON_LENGTH, Happening.CONTINUATION_AT_LENGTH),
}


class GenerationCall(Protocol):
    """What is needed of gRPC's context."""

    async def write(self, message: online_pb2.GenerateResponse) -> None: ...
    def time_remaining(self) -> float | None: ...


class Generation:
    """One call, from its request to its last message."""

    def __init__(
        self,
        call: GenerationCall,
        request: OpenSequences,
        sampling: Sampling,
        *,
        engine: Engine,
        observer: Observer,
        client: str,
        told_first: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """`told_first` hears how many seconds after the call's beginning its first message had left."""
        self._began_seconds = engine.clock()
        self._told_first = told_first
        self._call = call
        self._request = request
        self._sampling = sampling
        self._engine = engine
        self._observer = observer
        self._client = client
        self._open: list[str] = []
        self._trace = current_trace()
        self._stages: list[Stage] = []
        remaining = call.time_remaining()
        self._deadline_seconds = None if remaining is None else engine.clock() + remaining

    async def run(self) -> None:
        """Returns when everything is told. However it ends, nothing is left in the engine."""
        every: tuple[Continuation, ...] = ()
        try:
            opened = await self._begin()
            self._reached("queue", self._began_seconds)
            self._reached("tick", self._began_seconds + opened.timing.queue_seconds)
            every = going_on = continuations_of(opened, self._request, self._sampling)
            outputs: Sequence[Output] = [opened.output] * len(every)
            first = True
            while True:
                message = await self._take(going_on, outputs)
                going_on = tuple(each for each in going_on if each.end is None)
                if not going_on:
                    break
                stepping = self._step(going_on)
                await self._call.write(message)
                if first:
                    self._reached("first result", self._engine.clock())
                    self._told_first(self._engine.clock() - self._began_seconds)
                    first = False
                outputs = _outputs(await stepping)
            self._reached("publish", self._engine.clock())
            await self._tell_where_it_stands(message, opened, every)
            await self._call.write(message)
        finally:
            if self._open:
                self._observer.happened(Happening.CONTINUATION_CUT_SHORT, len(self._open))
                self._close(self._open)
            if self._trace is not None:
                facts = {"continuations": len(every), "steps": sum(len(each.steps) for each in every)}
                self._trace.stages(self._stages, facts)

    def _reached(self, stage: str, began_seconds: float) -> None:
        if self._trace is not None:
            self._stages.append(Stage(stage, began_seconds))

    async def _begin(self) -> OpenedSequences:
        answers = submit_together(
            self._engine,
            [self._request],
            client=self._client,
            begun=False,
            unread=self._opened_for_nobody,
            deadline_seconds=self._deadline_seconds,
        )
        try:
            (opened,) = _good(await answers)
        except asyncio.CancelledError:
            # Answered, and the caller left before this task could take up the answer: nobody else would close them.
            if answers.done() and not answers.cancelled():
                self._opened_for_nobody(answers.result()[0])
            raise
        assert isinstance(opened, OpenedSequences)
        self._open = list(opened.sequence_ids)  # from here on they have to be closed, whatever happens
        return opened

    def _step(self, going_on: Sequence[Continuation]) -> asyncio.Future[list[object]]:
        """The next step of every continuation that goes on, each with what it took last."""
        operations = [StepSequence(sequence_id=each.sequence_id, inputs=each.last) for each in going_on]
        return submit_together(
            self._engine,
            operations,
            client=self._client,
            begun=True,
            unread=_forget,
            deadline_seconds=self._deadline_seconds,
        )

    async def _take(
        self, going_on: Sequence[Continuation], outputs: Sequence[Output]
    ) -> online_pb2.GenerateResponse:
        """What the continuations make of the model's outputs; those that end are closed."""
        taken = partial(_taken, going_on, outputs)
        at_once = sum(map(len, outputs)) <= _AT_ONCE_VALUES
        steps = taken() if at_once else await asyncio.to_thread(taken)
        message = online_pb2.GenerateResponse()
        for step in steps:
            _fill_step(message.steps.add(), step)
        if steps:
            self._observer.happened(Happening.STEP_GENERATED, len(steps))
        ended: list[str] = []
        for each in going_on:
            if each.end is not None:
                _fill_end(message.ends.add(), each.end)
                self._observer.happened(_ENDS[each.end.reason][1])
                self._open.remove(each.sequence_id)
                ended.append(each.sequence_id)
        self._close(ended)
        return message

    async def _tell_where_it_stands(
        self,
        message: online_pb2.GenerateResponse,
        opened: OpenedSequences,
        every: Sequence[Continuation],
    ) -> None:
        """Moves the session along, if that was asked for. One that ended meanwhile stands nowhere."""
        if opened.standing is None:
            return
        if self._request.advance:
            written = await self._ask(write_of(opened, every[0]))
            assert isinstance(written, WriteResult)
            fill_state(message.state, written.state)
            return
        with suppress(SessionNotFound):
            view = await self._ask(GetSession(session_id=opened.standing.session_id))
            assert isinstance(view, SessionView)
            fill_state(message.state, view.state)

    async def _ask(self, operation: object) -> object:
        asked = submit_together(self._engine, [operation], client=self._client, begun=True, unread=_forget)
        (answer,) = _good(await asked)
        return answer

    def _opened_for_nobody(self, outcome: object) -> None:
        if isinstance(outcome, OpenedSequences):
            self._observer.happened(Happening.CONTINUATION_CUT_SHORT, len(outcome.sequence_ids))
            self._close(outcome.sequence_ids)

    def _close(self, sequence_ids: Sequence[str]) -> None:
        if not sequence_ids:
            return
        operations = [CloseSequence(sequence_id=sequence_id) for sequence_id in sequence_ids]
        with suppress(Draining):  # the engine has ended, and its tables with it
            submit_together(self._engine, operations, client=self._client, begun=True, unread=_forget)


def _forget(_: object) -> None:
    """Nothing hangs on the answer."""


def _taken(going_on: Sequence[Continuation], outputs: Sequence[Output]) -> list[GeneratedStep]:
    steps = [each.take(output) for each, output in zip(going_on, outputs, strict=True)]
    return [step for step in steps if step is not None]


def _good(answers: list[object]) -> list[object]:
    """The answers, if none is a failure. Raises the first one that is."""
    failure = next((answer for answer in answers if isinstance(answer, BaseException)), None)
    if failure is None:
        return answers
    try:
        raise failure
    finally:
        del failure, answers  # the traceback has this frame, and this frame would have it


def _outputs(answers: list[object]) -> list[Output]:
    return [answer.output for answer in _good(answers) if isinstance(answer, SequenceOutput)]


def _fill_step(message: online_pb2.GeneratedStep, step: GeneratedStep) -> None:
    message.alternative = step.alternative
    message.position = step.position
    if step.token_id is not None:
        message.token_id = step.token_id
        message.text = step.text
        message.log_probability = step.log_probability
    if step.values is not None:
        message.vector = step.values.astype("<f4", copy=False).tobytes()


def _fill_end(message: online_pb2.GenerationEnd, end: GenerationEnd) -> None:
    message.alternative = end.alternative
    message.reason = _ENDS[end.reason][0]
    message.log_probability = end.log_probability
