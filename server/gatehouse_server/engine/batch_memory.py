"""How large batches of documents may be for what is wanted of them, so that their answers fit into memory."""

from __future__ import annotations

from dataclasses import replace

from gatehouse_server.engine.bucketing import OfflineBatching
from gatehouse_server.engine.documents import DocumentWants
from gatehouse_server.network.spec import NetworkSpec

_NUMBER_BYTES = 4
_MOST_ANSWER_BYTES = 64 * 2**20
"""What the answers of one batch may take, unless a single document's take more."""


def step_answer_bytes(spec: NetworkSpec, wants: DocumentWants) -> int:
    """What is kept of each step until a batch is answered."""
    numbers = 1 if wants.log_likelihood else 0
    if wants.every_step:
        outputs = 0 if spec.head is None else spec.head.size
        numbers += outputs if wants.outputs else 0
        numbers += 3 * min(wants.best, outputs)
        numbers += spec.recurrent.output_size if wants.hidden else 0
    return _NUMBER_BYTES * numbers


def batching_of(batching: OfflineBatching, spec: NetworkSpec, wants: DocumentWants) -> OfflineBatching:
    """The same, with less in a batch where much is kept of each step; activations are looked at one by one."""
    affordable = _MOST_ANSWER_BYTES // max(1, step_answer_bytes(spec, wants))
    return replace(
        batching,
        batch_tokens=max(1, min(batching.batch_tokens, affordable)),
        max_batch_documents=1 if wants.activations else batching.max_batch_documents,
    )
