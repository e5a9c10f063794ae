"""What a call asks of its documents, checked against the model that is to read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from gatehouse.v1 import offline_pb2, online_pb2

from gatehouse_server.engine.documents import DocumentWants
from gatehouse_server.errors import InvalidInput
from gatehouse_server.models.model import LoadedModel

_FLOAT_BYTES = 4
_FIELD_BYTES = 6  # what a value takes beside itself, its length included
_RESULT_BYTES = 512
_STEP_BYTES = 24  # token, its place in the text, its log-probability


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentForm:
    """Which parts a result has. `k` labels are told, the best of `labels`; none but of classifiers.

    `vector`: the whole output is told. What else is told is what `wants` has the engine compute. `words` are the texts
    of tokens by id, where the model has a vocabulary.
    """

    wants: DocumentWants
    labels: tuple[str, ...]
    k: int
    vector: bool
    words: tuple[str, ...]
    output_size: int
    hidden_size: int
    summary_size: int

    def result_bytes(self, steps: int) -> int:
        """The most that the result of a document of so many steps takes in a message, activations not counted."""
        if not self.wants.every_step:
            return _RESULT_BYTES + self._part_bytes(self.summary_size)
        return _RESULT_BYTES + steps * (_STEP_BYTES + _FIELD_BYTES + self._part_bytes(self.hidden_size))

    def _part_bytes(self, hidden_size: int) -> int:
        size = self.k * (2 * _FIELD_BYTES + max((len(label.encode()) for label in self.labels), default=0))
        if self.vector:
            size += _FIELD_BYTES + _FLOAT_BYTES * self.output_size
        if self.wants.hidden:
            size += _FIELD_BYTES + _FLOAT_BYTES * hidden_size
        return size


def form_of(
    model: LoadedModel, options: offline_pb2.ClassifyOptions, *, max_output_bytes: int
) -> DocumentForm:
    """What these options mean for a model. Raises InvalidInput where it cannot do that."""
    task = model.config.task
    if task == "transducer":
        _refuse("model", f"{model.key} is a transducer: send its documents to Transduce")
    every_step = _every_step(model, options)
    _check(model, options)
    k = _k(model, options)
    likelihood = options.log_likelihood or (
        task == "language_model" and not (options.vector or options.hidden or options.activations)
    )
    vector = options.vector or task == "regressor"
    spec = model.network.spec
    wants = DocumentWants(
        outputs=vector or (k > 0 and not every_step),
        best=k if every_step else 0,
        logarithmic=task == "language_model",
        hidden=options.hidden or task == "encoder",
        log_likelihood=likelihood,
        every_step=every_step,
        activations=options.activations,
        most_activation_bytes=max_output_bytes,
        start_token=model.start_id,
    )
    return DocumentForm(
        wants=wants,
        labels=model.labels,
        k=k,
        vector=vector,
        words=() if model.text is None else model.text.vocabulary.words,
        output_size=0 if spec.head is None else spec.head.size,
        hidden_size=spec.recurrent.output_size,
        summary_size=spec.summary_size,
    )


def _every_step(model: LoadedModel, options: offline_pb2.ClassifyOptions) -> bool:
    steps = options.steps
    if steps not in (
        online_pb2.OUTPUT_STEPS_UNSPECIFIED,
        online_pb2.OUTPUT_STEPS_LAST,
        online_pb2.OUTPUT_STEPS_EVERY,
    ):
        raise InvalidInput.of_field(
            "options.steps", f"expected OUTPUT_STEPS_LAST or OUTPUT_STEPS_EVERY, got {steps}"
        )
    every_step = steps == online_pb2.OUTPUT_STEPS_EVERY
    if every_step and model.config.pooling:
        poolings = ", ".join(model.config.pooling)
        _refuse(
            "options.steps",
            f"expected OUTPUT_STEPS_LAST, since {model.key} pools whole documents ({poolings}), got OUTPUT_STEPS_EVERY",
        )
    return every_step


def _check(model: LoadedModel, options: offline_pb2.ClassifyOptions) -> None:
    task = model.config.task
    if options.vector and model.network.head is None:
        _refuse("options.vector", f"{model.key} is an encoder without an output layer; ask for `hidden`")
    if options.log_likelihood and task != "language_model":
        _refuse(
            "options.log_likelihood", f"{model.key} does not predict its own input, as language models do"
        )


def _k(model: LoadedModel, options: offline_pb2.ClassifyOptions) -> int:
    """How many labels are told; all unless fewer are asked for."""
    most = len(model.labels)
    if not options.HasField("k"):
        return most
    if not most:
        kind = model.config.task.replace("_", " ")
        _refuse("options.k", f"{model.key} is a {kind} and has no labels")
    if not 1 <= options.k <= most:
        raise InvalidInput.of_field(
            "options.k",
            f"expected 1 to {most}, the labels of {model.key}, got {options.k}",
            reason="K_OUT_OF_RANGE",
        )
    return options.k


def _refuse(field: str, description: str) -> NoReturn:
    raise InvalidInput.of_field(field, description, reason="WRONG_MODEL_KIND")
