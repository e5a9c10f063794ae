"""About how large the answer to an operation can become, told before it is computed."""

from __future__ import annotations

from gatehouse_server.models.registry import Registry
from gatehouse_server.sessions.operations import OutputRequest, Write

SMALL_K = 64
"""An answer with so many of the best entries is still small: a stream may have as many of them as operations."""

_FLOAT_BYTES = 4
_ENTRY_BYTES = 32  # id, log-probability and a word
_STEP_BYTES = 16


class LargeOutputs(OutputRequest):
    """Outputs whose size has to be looked at. A type, so that a write which asks for less costs one comparison."""

    __slots__ = ()


def may_be_large(outputs: OutputRequest) -> bool:
    """Whether an answer with these outputs can be more than small, with some model."""
    k, every_step, _, vector, hidden, activations = outputs
    return every_step or vector or hidden or activations or (k is not None and k > SMALL_K)


def suggestion_bytes(k: int) -> int:
    """What `k` words may take; 0 where that is little."""
    return _ENTRY_BYTES * k if k > SMALL_K else 0


class OutputSizes:
    """Bounds by what is served: which model a session runs on, only the session knows, so the widest one counts.

    `max_bytes` is what a session answers at most; it refuses what would be larger.
    """

    def __init__(self, registry: Registry, *, max_bytes: int) -> None:
        self._registry = registry
        self._max_bytes = max_bytes
        self._contents: tuple[str, ...] = ()  # not the models, which would stay in memory
        self._widest_output = 0
        self._widest_hidden = 0

    def write_bytes(self, write: Write) -> int:
        """The most that the answer to a write takes."""
        k, every_step, _, vector, hidden, activations = write.outputs
        if activations:
            return self._max_bytes
        self._look_at_models()
        step_bytes = _STEP_BYTES + _ENTRY_BYTES * (k or 0)
        step_bytes += _FLOAT_BYTES * (self._widest_output * vector + self._widest_hidden * hidden)
        # A text has at most as many tokens as characters.
        steps = len(write.inputs) if every_step and write.inputs is not None else 1
        return min(step_bytes * steps, self._max_bytes)

    def _look_at_models(self) -> None:
        models = self._registry.models + self._registry.leaving
        contents = tuple(model.content_key for model in models)
        if contents == self._contents:
            return
        self._contents = contents
        heads = [model.network.head for model in models]
        self._widest_output = max((head.size for head in heads if head is not None), default=0)
        self._widest_hidden = max((model.network.spec.recurrent.output_size for model in models), default=0)
