"""What transducers answer: frozen values, without any protobuf type."""

from __future__ import annotations

from dataclasses import dataclass

from gatehouse import failures
from gatehouse.decoding import timing
from gatehouse.errors import GatehouseError
from gatehouse.results import Timing
from gatehouse.v1 import offline_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """One output: its text, its tokens without the one that ends it, and its natural log-probability, that of its end
    included.

    `score` is the log-probability divided by the length penalty: what hypotheses are ordered by. `ended` tells whether
    it came to its end before the limit.
    """

    text: str
    token_ids: tuple[int, ...]
    log_probability: float
    score: float
    ended: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Transduction:
    """What became of one document: outputs, best first, or `error`, never both.

    `step_count` is how many steps were read, `truncated` whether the document was cut at the server's limit.
    """

    id: str
    hypotheses: tuple[Hypothesis, ...] = ()
    step_count: int = 0
    truncated: bool = False
    timing: Timing | None = None
    error: GatehouseError | None = None

    @property
    def text(self) -> str | None:
        """The best output; None when the document failed."""
        return self.hypotheses[0].text if self.hypotheses else None

    @property
    def log_probability(self) -> float | None:
        """That of the best output; None when the document failed."""
        return self.hypotheses[0].log_probability if self.hypotheses else None


def transduction(message: offline_pb2.TransduceResult) -> Transduction:
    """What became of a document."""
    if message.HasField("status"):
        return Transduction(id=message.document_id, error=failures.from_status(message.status))
    return Transduction(
        id=message.document_id,
        hypotheses=tuple(
            Hypothesis(
                text=each.text,
                token_ids=tuple(each.token_ids[:]),
                log_probability=each.log_probability,
                score=each.score,
                ended=each.ended,
            )
            for each in message.hypotheses
        ),
        step_count=message.step_count,
        truncated=message.truncated,
        timing=timing(message.timing),
    )
