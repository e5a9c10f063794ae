"""Sequences made of sequences over gRPC: what a call asks, checked, and what comes of it, in words."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gatehouse.v1 import offline_pb2

from gatehouse_server.engine.transduction import Transduction, TransductionWants
from gatehouse_server.errors import InvalidInput
from gatehouse_server.models.model import LoadedModel
from gatehouse_server.models.output_text import OutputText
from gatehouse_server.transport.document_services import DocumentLimits
from gatehouse_server.transport.documents import EncodedDocument
from gatehouse_server.transport.durations import fill_duration
from gatehouse_server.transport.result_teller import ResultTeller

_RESULT_BYTES = 512
_HYPOTHESIS_BYTES = 64
_ID_BYTES = 5
_LARGEST_PENALTY = 100.0
"""Beyond all sense: the longest output wins, whatever it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransductionForm:
    """What is searched for, and how it is put into words."""

    wants: TransductionWants
    output_text: OutputText

    def result_bytes(self, steps: int) -> int:
        """The most that a result takes in a message, however many steps the document has."""
        return self.bytes_of(self.wants.alternatives, self.wants.alternatives * self.wants.max_output_steps)

    def bytes_of(self, hypotheses: int, tokens: int) -> int:
        """The most that so many hypotheses, of so many tokens together, take."""
        return (
            _RESULT_BYTES
            + _HYPOTHESIS_BYTES * hypotheses
            + (_ID_BYTES + 1 + self.output_text.longest_bytes) * tokens
        )


def transduction_form(
    model: LoadedModel, options: offline_pb2.TransduceOptions, limits: DocumentLimits
) -> TransductionForm:
    """What these options mean for a model. Raises InvalidInput where it is no transducer or they are out of range."""
    if model.output_text is None:
        kind = model.config.task.replace("_", " ")
        raise InvalidInput.of_field(
            "model",
            f"expected a transducer, and {model.key} is a {kind}: send its documents to Classify",
            reason="WRONG_MODEL_KIND",
        )
    beam_size = _within("beam_size", options, 1, limits.max_beam_size)
    alternatives = _within("alternatives", options, 1, beam_size, told=f"{beam_size}, the beam's size")
    max_output_steps = _within("max_output_steps", options, limits.max_output_steps, limits.max_output_steps)
    length_penalty = options.length_penalty
    if not (math.isfinite(length_penalty) and 0 <= length_penalty <= _LARGEST_PENALTY):
        raise InvalidInput.of_field(
            "options.length_penalty", f"expected 0 to {_LARGEST_PENALTY:g}, got {length_penalty:g}"
        )
    return TransductionForm(
        wants=TransductionWants(
            beam_size=beam_size,
            length_penalty=length_penalty,
            max_output_steps=max_output_steps,
            alternatives=alternatives,
        ),
        output_text=model.output_text,
    )


def _within(
    name: str, options: offline_pb2.TransduceOptions, default: int, most: int, told: str | None = None
) -> int:
    value: int = getattr(options, name) if options.HasField(name) else default  # type: ignore[arg-type]
    if not 1 <= value <= most:
        raise InvalidInput.of_field(f"options.{name}", f"expected 1 to {told or most}, got {value}")
    return value


class TransductionTeller(ResultTeller[offline_pb2.TransduceResult, Transduction]):
    """The outputs with their texts."""

    answer_type = Transduction

    def __init__(self, form: TransductionForm) -> None:
        self._form = form

    @property
    def least_bytes(self) -> int:
        """See `ResultTeller`."""
        return self._form.bytes_of(0, 0)

    def answer_bytes(self, answer: Transduction) -> int:
        """See `ResultTeller`."""
        tokens = sum(len(each.token_ids) for each in answer.hypotheses)
        return self._form.bytes_of(len(answer.hypotheses), tokens)

    def fill(
        self, result: offline_pb2.TransduceResult, document: EncodedDocument, answer: Transduction
    ) -> None:
        """See `ResultTeller`."""
        add = result.hypotheses.add
        for each in answer.hypotheses:
            add(
                text=self._form.output_text.decode(each.token_ids),
                token_ids=each.token_ids,
                log_probability=each.log_probability,
                score=each.score,
                ended=each.ended,
            )
        result.step_count = answer.step_count
        result.truncated = document.truncated
        fill_duration(result.timing.queue, answer.queue_seconds)
        fill_duration(result.timing.compute, answer.compute_seconds)
