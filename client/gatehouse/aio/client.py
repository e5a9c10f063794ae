"""The client (the twin of `gatehouse.client`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self, TypeVar

from grpc import aio

from gatehouse import channel, decoding, generated, model_decoding, requests
from gatehouse.aio import calls
from gatehouse.aio.document_calls import DocumentCalls
from gatehouse.aio.generation import Generation
from gatehouse.aio.session import Session
from gatehouse.aio.stream import Stream
from gatehouse.ledger import Ledger
from gatehouse.models import Model
from gatehouse.patience import allowed_seconds
from gatehouse.results import Suggestions
from gatehouse.v1 import model_pb2, model_pb2_grpc, offline_pb2_grpc, online_pb2, online_pb2_grpc

Request = TypeVar("Request")
Response = TypeVar("Response")


class Client(DocumentCalls):
    """A connection to a server, as `localhost:50051`. Use it as a context manager, or call `close`.

    Nothing is sent before the first call. `timeout_seconds` is the deadline of calls that bring none of their
    own. Failures are raised as the exceptions of `gatehouse.errors`. Tasks of one event loop may share a
    client; make it in a coroutine, so that it is that loop's.
    """

    def __init__(self, target: str, *, timeout_seconds: float = 10.0) -> None:
        self.target = target
        self._timeout_seconds = allowed_seconds(timeout_seconds)
        self._channel = aio.insecure_channel(target, options=channel.channel_options())
        self._online = online_pb2_grpc.OnlineServiceStub(self._channel)
        self._offline = offline_pb2_grpc.OfflineServiceStub(self._channel)
        self._models = model_pb2_grpc.ModelServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection; calls under way, streams and loops over documents included, end with
        ClientClosedError, an UnavailableError. Later ones raise `grpc.aio.UsageError`. Sessions live on.
        """
        await self._channel.close()

    async def suggest(
        self,
        text: str,
        *,
        session: str | None = None,
        model: str | None = None,
        k: int = 3,
        exclude: Iterable[str] = (),
        extra_words: Iterable[str] = (),
        timeout_seconds: float | None = None,
    ) -> Suggestions:
        """The k likeliest next words after a text: all that stands before the cursor, or the last part of it.

        The session keeps what was computed for the text; it is made when there is none of that name, and
        named by the server when none is given. `exclude` has words never to suggest, `extra_words` personal
        words that the model may not know. Repeating the call is harmless.
        """
        suggestion = requests.suggest(
            text, session=session, model=model, k=k, exclude=exclude, extra_words=extra_words
        )
        request = online_pb2.SuggestRequest(suggest=suggestion)
        response = await self._insist(self._online.Suggest, request, timeout_seconds)
        return decoding.suggestions(response.result)

    def generate(
        self,
        text: str | None = None,
        *,
        tokens: Sequence[int] | None = None,
        features: requests.Features | None = None,
        model: str | None = None,
        session: str | None = None,
        initial: requests.Features | None = None,
        max_steps: int | None = None,
        alternatives: int = 1,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        stop_ids: Iterable[int] = (),
        advance: bool = False,
        incarnation: int | None = None,
        revision: int | None = None,
        timeout_seconds: float | None = None,
    ) -> Generation:
        """Continues a sequence, as language models and forecasts do: iterate over the result for its steps.

        It goes on from a session, or begins on `model`, and consumes a prompt first: text, tokens or features.
        `initial` is one vector that sets the first state, for models that have an input for it. `max_steps` is how many
        steps at most (32), `stop_ids` are tokens that end a continuation besides the model's own end token.

        Without `temperature`, `top_k`, `top_p` and `seed` the likeliest token is taken each time; with any of them
        tokens are drawn, at a `temperature` of 1 unless another is given. `alternatives` are drawn each by itself.

        The session stays where it is, unless `advance` moves it along by prompt and continuation, in one write at the
        end. That write has the `incarnation` and the `revision` that are given, so that repeating the call is harmless.
        The call itself is never repeated.
        """
        request = generated.generate_request(
            text=text,
            tokens=tokens,
            features=features,
            model=model,
            session=session,
            initial=initial,
            max_steps=max_steps,
            alternatives=alternatives,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            stop_ids=stop_ids,
            advance=advance,
            incarnation=incarnation,
            revision=revision,
        )
        return Generation(self._online, request, timeout_seconds=self._seconds(timeout_seconds))

    async def session(
        self, model: str, *, session_id: str | None = None, timeout_seconds: float | None = None
    ) -> Session:
        """Makes a session in the model's initial state, under an id of the server's or the caller's choice.

        SessionExistsError when the id is taken, OverloadedError when the server holds as many sessions as it
        may.
        """
        request = requests.create_session(model, session_id)
        response = await self._insist(self._online.CreateSession, request, timeout_seconds)
        return self._handle(Ledger(response.session))

    async def attach(self, session_id: str, *, timeout_seconds: float | None = None) -> Session:
        """A session that exists, from where it stands. SessionNotFoundError when it does not."""
        request = online_pb2.GetSessionRequest(session_id=session_id)
        response = await self._insist(self._online.GetSession, request, timeout_seconds)
        return self._handle(Ledger(response.session))

    async def fork(
        self,
        source: str,
        *,
        session_id: str | None = None,
        at: int | None = None,
        timeout_seconds: float | None = None,
    ) -> Session:
        """Makes a session with the tape and the state that the session `source` has at a position, by default at
        its end. From then on each goes its own way.

        SessionNotFoundError when there is no source, SessionExistsError when the id is taken, InvalidInputError or
        PositionNotRetainedError when there is no such position, OverloadedError as for `session`.
        """
        request = requests.fork_session(source, session_id, at)
        response = await self._insist(self._online.ForkSession, request, timeout_seconds)
        return self._handle(Ledger(response.session))

    async def export_session(self, session_id: str, *, timeout_seconds: float | None = None) -> bytes:
        """A session as bytes, for `import_session` on this server or another one of the same model. It lives on.

        The bytes hold the tape, sealed against changes but not encrypted: keep them as you keep what users write.
        """
        request = online_pb2.ExportSessionRequest(session_id=session_id)
        return (await self._insist(self._online.ExportSession, request, timeout_seconds)).blob

    async def import_session(
        self, blob: bytes, *, session_id: str | None = None, timeout_seconds: float | None = None
    ) -> Session:
        """Makes a session from what `export_session` gave; it goes on where that one stood.

        InvalidInputError when the bytes are no export or were altered (see its `reason`), ModelNotFoundError or
        ModelMismatchError when the server has not that very model, SessionExistsError when the id is taken.
        """
        request = requests.import_session(blob, session_id)
        response = await self._insist(self._online.ImportSession, request, timeout_seconds)
        return self._handle(Ledger(response.session))

    async def delete_session(self, session_id: str, *, timeout_seconds: float | None = None) -> None:
        """Ends a session and erases its tape. Fine when it was deleted before."""
        await calls.delete_session(self._online, session_id, self._seconds(timeout_seconds))

    def stream(self) -> Stream:
        """One stream for the operations of many sessions."""
        return Stream(self._online, timeout_seconds=self._timeout_seconds)

    async def list_models(self, *, timeout_seconds: float | None = None) -> tuple[Model, ...]:
        """All models by name and version, those that could not be loaded included."""
        request = model_pb2.ListModelsRequest()
        response = await calls.call(self._models.ListModels, request, self._seconds(timeout_seconds))
        return tuple(model_decoding.model(entry) for entry in response.models)

    async def get_model(self, name: str, *, timeout_seconds: float | None = None) -> Model:
        """One model, by `name` (its newest version) or `name@version`. ModelNotFoundError when missing."""
        request = model_pb2.GetModelRequest(model=name)
        response = await calls.call(self._models.GetModel, request, self._seconds(timeout_seconds))
        return model_decoding.model(response.model)

    def _handle(self, ledger: Ledger) -> Session:
        return Session(
            ledger, stub=self._online, carrier=self._carry_write, timeout_seconds=self._timeout_seconds
        )

    async def _carry_write(
        self, write: online_pb2.SessionWrite, timeout_seconds: float
    ) -> online_pb2.WriteResult:
        request = online_pb2.WriteRequest(write=write)
        return (await calls.call(self._online.Write, request, timeout_seconds)).result

    async def _insist(
        self,
        method: aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        timeout_seconds: float | None,
    ) -> Response:
        """Calls again and again until there is an answer: for what may be done twice without harm."""
        return await calls.insist(
            lambda seconds: calls.call(method, request, seconds), self._seconds(timeout_seconds)
        )

    def _seconds(self, timeout_seconds: float | None) -> float:
        return self._timeout_seconds if timeout_seconds is None else allowed_seconds(timeout_seconds)
