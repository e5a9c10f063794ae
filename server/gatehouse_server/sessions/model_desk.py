"""What is asked of the sessions' lane about models: to serve one, to retire one, to count the sessions on some."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gatehouse_server.models.model import LoadedModel
from gatehouse_server.sessions.census import Census
from gatehouse_server.sessions.hosted_model import HostedModel
from gatehouse_server.sessions.hosting import Hosts
from gatehouse_server.sessions.operations import CountSessions, RetireModel, ServeModel
from gatehouse_server.sessions.results import ModelRetired, ModelServed, SessionCounts


class ModelDesk:
    """Used by the engine thread. `left` hears of a retired model that no session needs any more."""

    def __init__(self, hosts: Hosts, census: Census, *, left: Callable[[LoadedModel], None]) -> None:
        self._hosts = hosts
        self._census = census
        self._tell_left = left
        self.answers: Mapping[type, Callable[[Any], object]] = {
            ServeModel: self.serve,
            RetireModel: self.retire,
            CountSessions: self.count,
        }

    def serve(self, operation: ServeModel) -> ModelServed:
        """New sessions run on a model."""
        return ModelServed(done=self._hosts.serve(operation.model, operation.hosted))

    def retire(self, operation: RetireModel) -> ModelRetired:
        """No new session runs on a model."""
        self._hosts.retire(operation.key)
        return ModelRetired()

    def count(self, operation: CountSessions) -> SessionCounts:
        """How many sessions run on models."""
        hosted = {model.content_key: self._hosts.of(model) for model in operation.models}
        return SessionCounts(
            counts={key: self._census.on(model) if model else 0 for key, model in hosted.items()}
        )

    def let_go(self) -> None:
        """Lets go of models that nothing runs on any more."""
        self._hosts.let_go(self._census.on, self._left)

    def _left(self, model: LoadedModel, hosted: HostedModel) -> None:
        self._census.forget(hosted)
        self._tell_left(model)
