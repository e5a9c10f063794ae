"""The client of the administrative port: the sessions of all users, the models, and how the server is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import grpc

from gatehouse import calls, channel, decoding, failures, operator_decoding
from gatehouse.errors import DeadlineExceededError, SessionEvictedError
from gatehouse.model_change import ModelChange, Unloading
from gatehouse.patience import allowed_seconds
from gatehouse.results import SessionLine
from gatehouse.server_status import ServerStatus
from gatehouse.v1 import admin_pb2, admin_pb2_grpc

LOADING_SECONDS = 600.0
"""Loading a large model takes a while; what was begun is finished though nobody waits for it any more."""


class Operator:
    """A connection to a server's administrative port, as `localhost:50052`. Use it as a context manager.

    Nothing is sent before the first call. Failures are raised as the exceptions of `gatehouse.errors`; ServerError
    without a reason is what a port for users answers.
    """

    def __init__(self, target: str, *, timeout_seconds: float = 10.0) -> None:
        self.target = target
        self._timeout_seconds = allowed_seconds(timeout_seconds)
        self._channel = grpc.insecure_channel(target, options=channel.channel_options())
        self._stub = admin_pb2_grpc.AdminServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection; calls under way end with UnavailableError. Later ones raise ValueError."""
        self._channel.close()

    def list_sessions(
        self, *, model: str | None = None, timeout_seconds: float | None = None
    ) -> Iterator[SessionLine]:
        """All sessions that the server knows, or those of a model (`name` or `name@version`), as they arrive: those in
        memory first, then those that are in the state store alone. Memory stays bounded, here and there.

        `timeout_seconds` is the longest silence of the server, however long the whole takes. When a failure is raised,
        what was told before it holds.
        """
        seconds = self._seconds(timeout_seconds)
        responses = self._stub.ListSessions(admin_pb2.ListSessionsRequest(model=model or ""))
        try:
            while (response := _next(responses, seconds)) is not None:
                yield from map(decoding.session_line, response.sessions)
        finally:
            responses.cancel()

    def inspect_session(self, session_id: str, *, timeout_seconds: float | None = None) -> SessionLine:
        """One session, wherever it is kept; it is neither woken nor kept alive by that. SessionNotFoundError when there
        is none.
        """
        request = admin_pb2.InspectSessionRequest(session_id=session_id)
        response = calls.call(self._stub.InspectSession, request, self._seconds(timeout_seconds))
        return decoding.session_line(response.session)

    def evict_session(self, session_id: str, *, timeout_seconds: float | None = None) -> None:
        """Ends a session and erases its tape; its user is told SessionEvictedError. Fine when it was evicted before,
        perhaps by a first attempt. SessionNotFoundError when there is none.
        """
        request = admin_pb2.EvictSessionRequest(session_id=session_id)
        try:
            calls.call(self._stub.EvictSession, request, self._seconds(timeout_seconds))
        except SessionEvictedError:
            return

    def load_model(self, folder: str, *, timeout_seconds: float = LOADING_SECONDS) -> ModelChange:
        """Serves the model in a folder `<name>/<version>` of the server's machine, to whoever begins from now on; a
        model of that name and version is replaced when its content differs. PreconditionError, and nothing has changed,
        when the folder has a defect.
        """
        request = admin_pb2.LoadModelRequest(folder=folder)
        response = calls.call(self._stub.LoadModel, request, self._seconds(timeout_seconds))
        return operator_decoding.model_change(response.change)

    def unload_model(
        self, model: str, *, force: bool = False, timeout_seconds: float = LOADING_SECONDS
    ) -> Unloading:
        """Serves `name@version` to nobody new. The server lets go of it when its last session and its last call have
        ended; with `force`, its sessions in memory are ended, and their users told SessionEvictedError.
        ModelNotFoundError when there is none, PreconditionError when the server must not be without it.
        """
        request = admin_pb2.UnloadModelRequest(model=model, force=force)
        response = calls.call(self._stub.UnloadModel, request, self._seconds(timeout_seconds))
        return Unloading(
            change=operator_decoding.model_change(response.change),
            evicted_sessions=response.evicted_sessions,
        )

    def reload_models(self, *, timeout_seconds: float = LOADING_SECONDS) -> tuple[ModelChange, ...]:
        """Has the server look at the folders of its models again, and load, replace and unload; what became of each."""
        response = calls.call(
            self._stub.ReloadModels, admin_pb2.ReloadModelsRequest(), self._seconds(timeout_seconds)
        )
        return tuple(map(operator_decoding.model_change, response.changes))

    def status(self, *, timeout_seconds: float | None = None) -> ServerStatus:
        """How the server is. Also told while it is stuck or leaving."""
        request, seconds = admin_pb2.GetStatusRequest(), self._seconds(timeout_seconds)
        return operator_decoding.server_status(calls.call(self._stub.GetStatus, request, seconds))

    def _seconds(self, timeout_seconds: float | None) -> float:
        return self._timeout_seconds if timeout_seconds is None else allowed_seconds(timeout_seconds)


def _next(
    responses: calls.ResponseStream[admin_pb2.ListSessionsResponse], timeout_seconds: float
) -> admin_pb2.ListSessionsResponse | None:
    """The next message of a list, None at its end. DeadlineExceededError when none comes for too long."""
    silent = threading.Event()

    def give_up() -> None:
        silent.set()
        responses.cancel()

    timer = threading.Timer(timeout_seconds, give_up)
    timer.daemon = True
    timer.start()
    try:
        return next(iter(responses), None)
    except grpc.RpcError as error:
        if silent.is_set():
            raise DeadlineExceededError(f"the list stopped for {timeout_seconds:g} s") from error
        raise failures.from_rpc_error(error) from error
    finally:
        timer.cancel()
