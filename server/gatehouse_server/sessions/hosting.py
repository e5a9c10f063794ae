"""The models that sessions run on: each with a backend and its table, an engine, and what checks need to know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import structlog

from gatehouse_server.engine.initial_states import initial_states
from gatehouse_server.engine.looking import Looker
from gatehouse_server.engine.observer import Observer
from gatehouse_server.engine.online import OnlineEngine
from gatehouse_server.engine.online_backend import OnlineBackend
from gatehouse_server.engine.policy import OnlineBatching
from gatehouse_server.engine.rows import RowPool
from gatehouse_server.engine.torch_online import TorchOnlineBackend
from gatehouse_server.errors import InvalidInput, ModelFolderError, ModelNotLoaded, printable
from gatehouse_server.models.model import LoadedModel
from gatehouse_server.models.registry import FailedModel, Registry
from gatehouse_server.network.network import Network
from gatehouse_server.sessions.hosted_model import HostedModel
from gatehouse_server.sessions.limits import SessionLimits

DEFAULT_SUGGESTING_MODEL = "keyboard"

_log = structlog.get_logger(__name__)


class MakeBackend(Protocol):
    """Makes what computes a model's ticks, as `TorchOnlineBackend` does."""

    def __call__(
        self, network: Network, *, capacity: int, start_token: int | None, suppressed: Sequence[int]
    ) -> OnlineBackend: ...


class Hosts:
    """All models of a registry that can run online. Used by the engine thread, but for `make` and iterating.

    One on which no session can run, as when its table finds no room, is failed in the registry; the others are hosted.
    """

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
        self._limits, self._batching, self._observer = limits, batching, observer
        self._clock, self._backend_of = clock, backend_of
        self._held: Counter[HostedModel] = Counter()
        self._hosted: dict[str, HostedModel] = {}
        self._leaving: dict[str, tuple[LoadedModel, HostedModel]] = {}
        for model in registry.models:
            if not model.online:
                continue
            try:
                self._hosted[model.key] = self.make(model)
            except ModelFolderError as error:
                self._fail(model, str(error))
        # Replaced as a whole: it is gone through on other threads, too.
        self._all: tuple[HostedModel, ...] = ()
        self._note_all()

    def __iter__(self) -> Iterator[HostedModel]:
        return iter(self._all)

    def make(self, model: LoadedModel) -> HostedModel:
        """What sessions need to run on a model, which they do not do yet. Takes long; from any thread.

        Raises ModelFolderError when they cannot.
        """
        try:
            return host(
                model,
                limits=self._limits,
                batching=self._batching,
                observer=self._observer,
                clock=self._clock,
                backend_of=self._backend_of,
            )
        except Exception as error:  # no room for its table of states, say; of somebody's own cell, anything
            raise ModelFolderError(
                model.path,
                f"sessions cannot run on it ({type(error).__name__}: {error})",
                "free memory, or unload another model; or mend its cell",
            ) from error

    def _fail(self, model: LoadedModel, problem: str) -> None:
        """Nothing has been done with the model yet: the registry forgets it, but for why it is not served."""
        self._registry.retire(model.key)
        self._registry.has_left(model)
        self._registry.note_failure(FailedModel(key=model.key, path=model.path, problem=problem))
        _log.error("model failed", model=model.key, path=printable(model.path), problem=problem)

    def serve(self, model: LoadedModel, hosted: HostedModel | None) -> bool:
        """From now on new sessions run on a model that can run online; another one under its key is leaving.

        `hosted` is what `make` made of it. It may be absent for a leaving model; false when that has left meanwhile,
        and nothing is changed.
        """
        kept = self._leaving.pop(model.content_key, None)
        if kept is not None:
            hosted = kept[1]
        if model.online and hosted is None:
            return False
        self._leave(model.key)
        if hosted is not None:
            self._hosted[model.key] = hosted
        self._registry.put(model)
        self._note_all()
        return True

    def retire(self, key: str) -> None:
        """From now on no new session begins on the model `name@version`."""
        self._leave(key)
        self._registry.retire(key)
        self._note_all()

    def let_go(
        self, sessions: Callable[[HostedModel], int], left: Callable[[LoadedModel, HostedModel], None]
    ) -> None:
        """Lets go of leaving models that nothing runs on any more, and tells `left`; `sessions` tells how many are in
        memory.
        """
        for content_key, (model, hosted) in list(self._leaving.items()):
            if hosted in self._held or sessions(hosted) or hosted.rows.in_use or hosted.engine.queued:
                continue
            del self._leaving[content_key]
            self._note_all()
            left(model, hosted)

    def of(self, model: LoadedModel) -> HostedModel | None:
        """What sessions run on of a model, be it leaving; None when nothing does."""
        kept = self._leaving.get(model.content_key)
        if kept is not None:
            return kept[1]
        return self._hosted.get(model.key) if model in self._registry.models else None

    def _leave(self, key: str) -> None:
        hosted = self._hosted.pop(key, None)
        if hosted is not None:
            model = self._registry.get(key)
            self._leaving[model.content_key] = model, hosted

    def _note_all(self) -> None:
        self._all = (*self._hosted.values(), *(hosted for _, hosted in self._leaving.values()))

    @contextmanager
    def held(self, model: HostedModel) -> Iterator[None]:
        """Around the making of a session on a model: it does not leave meanwhile."""
        self._held[model] += 1
        try:
            yield
        finally:
            self._held[model] -= 1
            if not self._held[model]:
                del self._held[model]

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
        fitting = {
            model.name for model in self._hosted.values() if model.scores_tokens and model.text is not None
        }
        return self.get(fitting.pop() if len(fitting) == 1 else DEFAULT_SUGGESTING_MODEL)

    def serving(self, key: str, fingerprint: str) -> HostedModel:
        """The model `name@version` of a session, of that content if it is here, else of another one. Raises
        ModelNotLoaded when there is none.
        """
        model = self._hosted.get(key)
        if model is None or model.fingerprint != fingerprint:
            leaving = (hosted for _, hosted in self._leaving.values())
            same = (each for each in leaving if (each.key, each.fingerprint) == (key, fingerprint))
            model = next(same, model)
        if model is None:
            raise ModelNotLoaded(
                f"the session runs on {key}, which is not served here now. The session is kept; serve {key} again",
                metadata={"model": key},
            )
        return model

    @property
    def have_work(self) -> bool:
        """Whether jobs wait for a tick."""
        return any(model.engine.queued for model in self._all)

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
    capacity = limits.table_rows
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
        hidden_size=network.spec.recurrent.output_size,
        looker=Looker(network),
        ranks=head is not None and head.kind != "linear",
        scores_tokens=is_language_model and config.input.kind == "tokens" and head is not None,
        text=text,
        sentence_starts_over=config.text is not None and config.text.sentence_end == "start_over",
        texts=texts,
        start_id=model.start_id,
        initial=initial_states(network),
        begins_alone=model.start_id is not None
        or any(layer.initial_state for layer in network.spec.recurrent.layers),
    )
