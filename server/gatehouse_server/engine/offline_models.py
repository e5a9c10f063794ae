"""What documents are given to: networks that tell something of them, and transducers that make others of them."""

from __future__ import annotations

from typing import Any

from gatehouse_server.engine.batch_memory import batching_of
from gatehouse_server.engine.bucketing import OfflineBatching
from gatehouse_server.engine.documents import Wants
from gatehouse_server.engine.offline_backend import OfflineBackend, TorchOfflineBackend
from gatehouse_server.engine.transducing import TorchTransducingBackend
from gatehouse_server.engine.transduction import TransductionWants
from gatehouse_server.errors import InvalidInput
from gatehouse_server.network.network import Network
from gatehouse_server.network.transducer import Transducer

OfflineModel = Network | Transducer


def torch_backend(model: OfflineModel) -> OfflineBackend[Any]:
    """What computes batches for a model."""
    return TorchTransducingBackend(model) if isinstance(model, Transducer) else TorchOfflineBackend(model)


def refusal(model_key: str, model: OfflineModel, wants: Wants) -> InvalidInput | None:
    """Why a model cannot do what is wanted; None when it can."""
    problem = None
    if isinstance(model, Transducer):
        if not isinstance(wants, TransductionWants):
            problem = "is a transducer, which makes documents of documents and tells nothing else of them"
    elif isinstance(wants, TransductionWants):
        problem = "is no transducer, so it makes no documents of documents"
    elif model.head is None and wants.needs_head:
        problem = "has no output layer, so it gives documents no scores"
    return (
        None if problem is None else InvalidInput(f"model {model_key} {problem}", reason="WRONG_MODEL_KIND")
    )


def batching_for(batching: OfflineBatching, model: OfflineModel, wants: Wants) -> OfflineBatching:
    """How documents are batched, of which that is wanted."""
    if isinstance(model, Transducer) or isinstance(wants, TransductionWants):
        return batching
    return batching_of(batching, model.spec, wants)
