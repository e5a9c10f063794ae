"""The models that sessions run on: each with a backend and its table, an engine, and what checks need to know."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from gatehouse_server.engine.observer import Observer
from gatehouse_server.engine.online import OnlineEngine
from gatehouse_server.engine.online_backend import OnlineBackend
from gatehouse_server.engine.policy import OnlineBatching
from gatehouse_server.engine.rows import RowPool
from gatehouse_server.engine.torch_online import TorchOnlineBackend
from gatehouse_server.errors import InvalidInput, ModelNotLoaded
from gatehouse_server.models.model import LoadedModel
from gatehouse_server.models.registry import Registry
from gatehouse_server.network.network import Network
from gatehouse_server.sessions.hosted_model import HostedModel
from gatehouse_server.sessions.limits import SessionLimits

DEFAULT_SUGGESTING_MODEL = "keyboard"


class MakeBackend(Protocol):
    """Makes what computes a model's ticks, as `TorchOnlineBackend` does."""

    def __call__(
        self, network: Network, *, capacity: int, start_token: int | None, suppressed: Sequence[int]
    ) -> OnlineBackend: ...


class Hosts:
    """All models of a registry that can run online."""

    def __init__(
        self,
        registry: Registry,
        *,
        limits: SessionLimits,
        batching: OnlineBatching,
        observer: Observer,
        clock: Callable[[], float],
        backend_of: MakeBackend = TorchOnlineBackend,
    ) -> None:
        self._registry = registry
        self._hosted = {
            model.key: host(
                model,
                limits=limits,
                batching=batching,
                observer=observer,
                clock=clock,
                backend_of=backend_of,
            )
            for model in registry.models
            if model.online
        }

    def __iter__(self) -> Iterator[HostedModel]:
        return iter(self._hosted.values())

    def get(self, name: str) -> HostedModel:
        """The model `name` or `name@version`. Raises what the registry does, InvalidInput when it can't run online."""
        model = self._registry.get(name)
        hosted = self._hosted.get(model.key)
        if hosted is None:
            raise InvalidInput.of_field("model", model.why_not_online() or "", reason="WRONG_MODEL_KIND")
        return hosted

    def suggesting(self, name: str | None) -> HostedModel:
        """The model to suggest with: the named one, or the only one that predicts words, or `keyboard`."""
        if name is not None:
            return self.get(name)
        fitting = {model.name for model in self if model.scores_tokens and model.text is not None}
        return self.get(fitting.pop() if len(fitting) == 1 else DEFAULT_SUGGESTING_MODEL)

    def serving(self, key: str) -> HostedModel:
        """The model `name@version` of a session. Raises ModelNotLoaded when it is not here."""
        model = self._hosted.get(key)
        if model is None:
            raise ModelNotLoaded(
                f"the session runs on {key}, which is not served here now. The session is kept; serve {key} again",
                metadata={"model": key},
            )
        return model

    @property
    def have_work(self) -> bool:
        """Whether jobs wait for a tick."""
        return any(model.engine.queued for model in self._hosted.values())

    @property
    def state_bytes(self) -> int:
        """What the states in use take in all tables."""
        return sum(model.rows.in_use * model.engine.bytes_per_row for model in self)


def host(
    model: LoadedModel,
    *,
    limits: SessionLimits,
    batching: OnlineBatching,
    observer: Observer,
    clock: Callable[[], float],
    backend_of: MakeBackend = TorchOnlineBackend,
) -> HostedModel:
    """A model that sessions can run on. `model.online` has to hold."""
    network, text, config = model.network, model.text, model.config
    capacity = limits.max_live_sessions * limits.rows_per_session
    never_suggested = () if text is None else sorted(text.suppressed_ids | text.punctuation_ids)
    backend = backend_of(
        network,
        capacity=capacity,
        start_token=model.start_id,
        suppressed=never_suggested,
    )
    engine = OnlineEngine(model=model.key, backend=backend, batching=batching, observer=observer, clock=clock)
    head = network.head
    is_language_model = config.task == "language_model"
    output_size = 0 if head is None else head.size
    texts: Sequence[str] = ("",) * output_size
    if is_language_model and text is not None:
        texts = text.vocabulary.words
    elif not is_language_model and model.labels:
        texts = model.labels

    return HostedModel(
        key=model.key,
        # A state belongs to the arithmetic that made it: another precision is another model to a session.
        fingerprint=model.fingerprint
        if network.arithmetic.name == "float32"
        else f"{model.fingerprint}+{network.arithmetic.name}",
        engine=engine,
        rows=RowPool(capacity),
        limits=limits,
        keeps_tokens=config.input.kind == "tokens",
        width=config.input.vocabulary_size if config.input.kind == "tokens" else config.input.size,
        output_size=output_size,
        ranks=head is not None and head.kind != "linear",
        scores_tokens=is_language_model and config.input.kind == "tokens" and head is not None,
        text=text,
        sentence_starts_over=config.text is not None and config.text.sentence_end == "start_over",
        texts=texts,
    )
