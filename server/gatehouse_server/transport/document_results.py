"""What the engine answered of a document, from plain arrays to protobuf."""

from __future__ import annotations

import numpy as np
from gatehouse.v1 import offline_pb2

from gatehouse_server.engine.documents import DocumentScores, Floats
from gatehouse_server.transport.activations import activations_bytes, fill_activations
from gatehouse_server.transport.document_form import DocumentForm
from gatehouse_server.transport.documents import EncodedDocument
from gatehouse_server.transport.durations import fill_duration
from gatehouse_server.transport.result_teller import ResultTeller

_INTEGER_BYTES = 6
_WORD_BYTES = 16


class DocumentTeller(ResultTeller[offline_pb2.DocumentResult, DocumentScores]):
    """Labels, values, vectors and likelihoods, as the form of the results says."""

    answer_type = DocumentScores

    def __init__(self, form: DocumentForm) -> None:
        self._form = form

    @property
    def least_bytes(self) -> int:
        """See `ResultTeller`."""
        return self._form.result_bytes(0)

    def answer_bytes(self, answer: DocumentScores) -> int:
        """See `ResultTeller`."""
        size = self._form.result_bytes(answer.step_count)
        if answer.activations is not None:
            size += activations_bytes(answer.activations) + (_INTEGER_BYTES + _WORD_BYTES) * answer.step_count
        return size

    def fill(
        self, result: offline_pb2.DocumentResult, document: EncodedDocument, answer: DocumentScores
    ) -> None:
        """See `ResultTeller`."""
        form, scores = self._form, answer.scores
        if scores is not None and form.k:
            # A stable sort of the negated values: ties go to the lower index.
            add, labels = result.scores.add, form.labels
            for index in np.argsort(-scores, kind="stable")[: form.k].tolist():
                add(label=labels[index], score=scores[index])
        if scores is not None and form.vector:
            result.vector = _packed(scores)
        if answer.hidden is not None:
            result.hidden = _packed(answer.hidden)
        if answer.log_likelihood is not None:
            result.log_likelihood = answer.log_likelihood
        if answer.activations is not None:
            fill_activations(result.activations, answer.activations)
            if document.token_ids is not None:
                ids = document.token_ids.tolist()
                result.token_ids.extend(ids)
                result.token_texts.extend([form.words[number] for number in ids] if form.words else ())
        result.step_count = answer.step_count
        result.truncated = document.truncated
        fill_duration(result.timing.queue, answer.queue_seconds)
        fill_duration(result.timing.compute, answer.compute_seconds)

    def step_count(self, answer: DocumentScores) -> int:
        """See `ResultTeller`."""
        return 0 if answer.steps is None else answer.step_count

    def fill_steps(
        self,
        result: offline_pb2.DocumentResult,
        document: EncodedDocument,
        answer: DocumentScores,
        part: slice,
    ) -> None:
        """See `ResultTeller`."""
        form, steps = self._form, answer.steps
        if steps is None:
            return
        made = [result.steps.add() for _ in range(*part.indices(answer.step_count))]
        if steps.best_ids is not None and steps.best_values is not None:
            labels = form.labels
            ranked = zip(made, steps.best_ids[part].tolist(), steps.best_values[part].tolist(), strict=True)
            for step, ids, values in ranked:
                add = step.scores.add
                for index, score in zip(ids, values, strict=True):
                    add(label=labels[index], score=score)
        if form.vector and steps.outputs is not None:
            for step, packed in zip(made, _packed_rows(steps.outputs[part]), strict=True):
                step.vector = packed
        if steps.hidden is not None:
            for step, packed in zip(made, _packed_rows(steps.hidden[part]), strict=True):
                step.hidden = packed
        if steps.log_probabilities is not None:
            for step, value in zip(made, steps.log_probabilities[part].tolist(), strict=True):
                step.log_probability = value
        if document.token_ids is not None:
            for step, token_id in zip(made, document.token_ids[part].tolist(), strict=True):
                step.token_id = token_id
        if document.spans is not None:
            for step, (start, end) in zip(made, document.spans[part].tolist(), strict=True):
                step.text_start = start
                step.text_end = end


def _packed(values: Floats) -> bytes:
    return values.astype("<f4", copy=False).tobytes()


def _packed_rows(values: Floats) -> list[bytes]:
    """Each row (T, N) by itself; cutting them out of all of them takes a fifth of packing one after the other."""
    packed, width = _packed(values), 4 * values.shape[1]
    return [packed[start : start + width] for start in range(0, len(packed), width)]
