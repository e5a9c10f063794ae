"""Making loaded models ready for sessions: a backend with its table, an engine, and what checks need to know."""

from __future__ import annotations

from collections.abc import Callable

from gatehouse_server.engine.observer import Observer
from gatehouse_server.engine.online import OnlineEngine
from gatehouse_server.engine.policy import OnlineBatching
from gatehouse_server.engine.rows import RowPool
from gatehouse_server.engine.torch_online import TorchOnlineBackend
from gatehouse_server.models.model import LoadedModel
from gatehouse_server.sessions.hosted_model import HostedModel
from gatehouse_server.sessions.limits import SessionLimits


def host(
    model: LoadedModel,
    *,
    limits: SessionLimits,
    batching: OnlineBatching,
    observer: Observer,
    clock: Callable[[], float],
) -> HostedModel:
    """A model that sessions can run on. `model.online` has to hold."""
    network, text, config = model.network, model.text, model.config
    capacity = limits.max_sessions * limits.rows_per_session
    never_suggested = () if text is None else sorted(text.suppressed_ids | text.punctuation_ids)
    backend = TorchOnlineBackend(
        network,
        capacity=capacity,
        start_token=model.start_id,
        suppressed=never_suggested,
    )
    engine = OnlineEngine(model=model.key, backend=backend, batching=batching, observer=observer, clock=clock)
    head = network.head
    is_language_model = config.task == "language_model"

    def text_of(output: int) -> str:
        if is_language_model:
            return "" if text is None else text.vocabulary.words[output]
        return model.labels[output] if model.labels else ""

    return HostedModel(
        key=model.key,
        engine=engine,
        rows=RowPool(capacity),
        limits=limits,
        keeps_tokens=config.input.kind == "tokens",
        width=config.input.vocabulary_size if config.input.kind == "tokens" else config.input.size,
        output_size=0 if head is None else head.size,
        ranks=head is not None and head.kind != "linear",
        scores_tokens=is_language_model and config.input.kind == "tokens" and head is not None,
        text=text,
        sentence_starts_over=config.text is not None and config.text.sentence_end == "start_over",
        texts=text_of,
    )
