"""A session in explicit steps (the twin of `gatehouse.session`)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from gatehouse import requests
from gatehouse.aio.calls import CLOSED, call, delete_session, insist
from gatehouse.aio.turns import Turn
from gatehouse.delivery import Delivery, explained
from gatehouse.errors import GatehouseError, SessionNotFoundError
from gatehouse.ledger import Ledger
from gatehouse.patience import Deadline, allowed_seconds
from gatehouse.results import SessionState, WriteResult
from gatehouse.resumptions import Resumptions
from gatehouse.v1 import online_pb2, online_pb2_grpc

Carrier = Callable[[online_pb2.SessionWrite, float], Awaitable[online_pb2.WriteResult]]
"""Brings a write to the server within some seconds and its answer back: a unary call, or a multiplexed
stream.
"""


class Session:
    """One sequence on one unidirectional model. Made by `Client.session`, `Client.attach` and their like on a
    stream.

    The session is a tape: `write` puts steps at a position, and the answer depends on the tape as it then
    reads and on nothing else. Every write goes out under its incarnation and revision, so that it is applied
    exactly once however often it is sent: when an answer gets lost, the write is repeated until the deadline.
    What the server lost in a crash, or another replica has not got, is sent again before; that counts against
    the same deadline. When even that brings no answer, UnavailableError or DeadlineExceededError is raised and
    the write stays unanswered; the next call must then be `repeat` or `refresh`.

    RevisionConflictError says that somebody else wrote to the session, SessionLostError that it cannot be
    resumed and from which position to give the steps again; `refresh` goes on from where the server stands.

    Tasks may share a session; their writes go one after the other. Waiting for the turn counts against the deadline,
    too: what had no turn by then raises DeadlineExceededError and was not sent, so that it is not unanswered.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        stub: online_pb2_grpc.OnlineServiceAsyncStub,
        carrier: Carrier,
        timeout_seconds: float,
    ) -> None:
        self._ledger = ledger
        self._stub = stub
        self._carry = carrier
        self._timeout_seconds = timeout_seconds
        self._turn = Turn()

    @property
    def id(self) -> str:
        """The session's identifier; `Client.attach` takes it."""
        return self._ledger.session_id

    @property
    def model(self) -> str:
        """The model that the session runs on, as `name@version`."""
        return self._ledger.model

    @property
    def max_write_steps(self) -> int:
        """The most steps that one write may carry."""
        return self._ledger.max_write_steps

    @property
    def state(self) -> SessionState:
        """Where the session stood at the last answer."""
        return self._ledger.state

    @property
    def position(self) -> int:
        """How many steps the session had consumed at the last answer."""
        return self._ledger.state.position

    @property
    def revision(self) -> int:
        """The revision of the last answer."""
        return self._ledger.state.revision

    @property
    def resumptions(self) -> Resumptions:
        """How often the session was interrupted, and what was sent again for it."""
        return self._ledger.resumptions

    async def write(
        self,
        *,
        at: int | None = None,
        text: str | None = None,
        tokens: Sequence[int] | None = None,
        features: requests.Features | None = None,
        k: int | None = None,
        every_step: bool = False,
        scores: bool = False,
        vector: bool = False,
        hidden: bool = False,
        activations: bool = False,
        timeout_seconds: float | None = None,
    ) -> WriteResult:
        """Puts steps (exactly one of text, tokens, features) at a position; without `at`, at the end.

        `k` asks for the k best next tokens, `vector` for the whole output, `hidden` for what the top layer hands
        on, all after the last step or `every_step`; `scores` for the log-probability of each step put there;
        `activations` for the gates and states of all layers at each of them, which is slow and for looking.
        """
        outputs = requests.outputs(
            k=k,
            every_step=every_step,
            scores=scores,
            vector=vector,
            hidden=hidden,
            activations=activations,
        )
        deadline = self._deadline(timeout_seconds)
        async with self._turn.within(deadline):
            self._ledger.draft(at=at, text=text, tokens=tokens, features=features, outputs=outputs)
            return await self._send(deadline)

    async def append(
        self,
        *,
        text: str | None = None,
        tokens: Sequence[int] | None = None,
        features: requests.Features | None = None,
        k: int | None = None,
        every_step: bool = False,
        scores: bool = False,
        vector: bool = False,
        hidden: bool = False,
        activations: bool = False,
        timeout_seconds: float | None = None,
    ) -> WriteResult:
        """Puts steps at the end; otherwise as `write`."""
        return await self.write(
            text=text,
            tokens=tokens,
            features=features,
            k=k,
            every_step=every_step,
            scores=scores,
            vector=vector,
            hidden=hidden,
            activations=activations,
            timeout_seconds=timeout_seconds,
        )

    async def rewind(
        self,
        *,
        to: int,
        k: int | None = None,
        vector: bool = False,
        hidden: bool = False,
        timeout_seconds: float | None = None,
    ) -> WriteResult:
        """Returns to the state that the session had at a position. `k`, `vector` and `hidden` ask as in `write`."""
        outputs = requests.outputs(k=k, every_step=False, scores=False, vector=vector, hidden=hidden)
        deadline = self._deadline(timeout_seconds)
        async with self._turn.within(deadline):
            self._ledger.draft(at=to, text=None, tokens=None, features=None, outputs=outputs, empty=True)
            return await self._send(deadline)

    async def start_over(
        self,
        *,
        k: int | None = None,
        vector: bool = False,
        hidden: bool = False,
        timeout_seconds: float | None = None,
    ) -> WriteResult:
        """Returns to the initial state."""
        return await self.rewind(to=0, k=k, vector=vector, hidden=hidden, timeout_seconds=timeout_seconds)

    async def repeat(self, *, timeout_seconds: float | None = None) -> WriteResult:
        """Sends the unanswered write again. RuntimeError when there is none."""
        deadline = self._deadline(timeout_seconds)
        async with self._turn.within(deadline):
            return await self._send(deadline)

    async def refresh(self, *, timeout_seconds: float | None = None) -> SessionState:
        """Looks where the session stands on the server, and goes on from there. An unanswered write is
        forgotten, and so are the writes before it unless the session stands where it stood at the last answer.
        """
        request = online_pb2.GetSessionRequest(session_id=self.id)
        deadline = self._deadline(timeout_seconds)
        async with self._turn.within(deadline):
            try:
                response = await insist(
                    lambda seconds: call(self._stub.GetSession, request, seconds),
                    deadline.remaining_seconds(),
                )
            except SessionNotFoundError as error:
                raise explained(error, self._ledger) from error
            return self._ledger.adopt(response.session)

    async def delete(self, *, timeout_seconds: float | None = None) -> None:
        """Ends the session and erases its tape. Fine when it was deleted before."""
        deadline = self._deadline(timeout_seconds)
        async with self._turn.within(deadline):
            await delete_session(self._stub, self.id, deadline.remaining_seconds())

    async def _send(self, deadline: Deadline) -> WriteResult:
        delivery = Delivery(self._ledger, deadline)
        while delivery.answer is None:
            try:
                result = await self._carry(delivery.next_write(), delivery.attempt_seconds())
            except GatehouseError as error:
                pause_seconds = delivery.failed(error)
            except CLOSED as error:
                raise delivery.not_sent(error) from error
            else:
                delivery.answered(result)
                continue
            await asyncio.sleep(pause_seconds)
        return delivery.answer

    def _deadline(self, timeout_seconds: float | None) -> Deadline:
        return Deadline(
            self._timeout_seconds if timeout_seconds is None else allowed_seconds(timeout_seconds)
        )
