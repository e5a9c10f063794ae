"""A converted model against its source: the same inputs, the largest difference between what they answer."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from gatehouse_server.convert.port import ConversionError, Form, Reference
from gatehouse_server.models.model import LoadedModel
from gatehouse_server.models.sections import TokenInput

_MOST_NUMBERS = 2**26
"""Of what is read for the comparison."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """`largest`: over all values, and over every way in which the server computes them. `scale`: the largest value of
    the reference, at least 1: rounding grows with it.
    """

    against: str
    form: Form
    values: int
    largest: float
    scale: float

    def check(self, tolerance: float) -> None:
        """Raises ConversionError above the tolerance, which is of values up to 1."""
        # Not (a <= b), so that a difference that is not a number fails.
        if not self.largest <= tolerance * self.scale:
            raise ConversionError(
                f"answers differ from {self.against}'s by up to {self.largest:.3g} "
                f"({self.form}, of a size up to {self.scale:.3g}; tolerance {tolerance:g} of that)",
                "nothing was written; if the difference is rounding, raise --tolerance",
            )


def compare_with_reference(model: LoadedModel, reference: Reference, seed: int) -> Difference:
    """Random sequences through both. Raises ConversionError when the reference cannot be run."""
    generator = torch.Generator().manual_seed(seed)
    shape = (reference.batch_size, reference.steps)
    section = model.config.input
    if (
        math.prod(shape) * (section.embedding_size if isinstance(section, TokenInput) else section.size)
        > _MOST_NUMBERS
    ):
        raise ConversionError(
            f"{reference.name} would have to read {shape[0]:,} sequences of {shape[1]:,} steps, as the source says",
            "leave these sizes open in the source",
        )
    if isinstance(section, TokenInput):
        inputs = torch.randint(section.vocabulary_size, shape, generator=generator)
    else:
        inputs = torch.randn((*shape, section.size), generator=generator)
    try:
        expected = reference.run(inputs)
    except (RuntimeError, ValueError, TypeError, MemoryError) as error:
        raise ConversionError(
            f"{reference.name} cannot run the source ({error})", "look whether its weights are whole"
        ) from error
    return compare(model, inputs, expected, form=reference.form, against=reference.name)


def compare(model: LoadedModel, inputs: Tensor, expected: Tensor, *, form: Form, against: str) -> Difference:
    """inputs (B, T) or (B, T, N), expected (B, T, O) or, of a model that pools, (B, O).

    Raises ConversionError when the shapes are not those that the model answers.
    """
    largest, values = 0.0, 0
    for answer in _answers(model, inputs, form):
        if answer.shape != expected.shape:
            raise ConversionError(
                f"{against} answers {tuple(expected.shape)}, the converted model {tuple(answer.shape)} ({form})",
                "say with --pooling what becomes of the steps, or with --check-form what the vectors are",
            )
        values = answer.numel()
        worst = (answer.double() - expected.double()).abs().max()
        # A NaN on either side stays one, and no tolerance lets it pass.
        largest = float(torch.maximum(torch.tensor(largest, dtype=torch.float64), worst))
    scale = max(1.0, float(expected.abs().max()))
    return Difference(against=against, form=form, values=values, largest=largest, scale=scale)


@torch.inference_mode()
def _answers(model: LoadedModel, inputs: Tensor, form: Form) -> Iterator[Tensor]:
    """What the model says, as documents are read and, where it can run sessions, step by step."""
    network = model.network
    B, T = inputs.shape[:2]
    # Packed: all first steps, then all second ones.
    packed = inputs.transpose(0, 1).reshape(B * T, *inputs.shape[2:]).contiguous()
    sizes = [B] * T
    if network.spec.pooling:
        yield _scores(model, network.summarize(packed, sizes).clone(), form)
        return
    outputs = network.encode(packed, sizes).clone()
    yield _scores(model, outputs, form).view(T, B, -1).transpose(0, 1)
    if network.spec.recurrent.causal:
        state = network.layout.zeros(B) if network.spec.initial is None else network.initial_state(B)
        steps = []
        for step in range(T):
            output, state = network.step(packed[step * B : (step + 1) * B], state)
            steps.append(_scores(model, output, form))
        yield torch.stack(steps, dim=1)


def _scores(model: LoadedModel, outputs: Tensor, form: Form) -> Tensor:
    head = model.network.head
    if form == "outputs" or head is None:
        return outputs
    logits = head.logits(outputs)[:, : head.size]
    if form == "logits" or head.kind == "linear":
        return logits
    if head.kind == "softmax":
        return logits.log_softmax(dim=1) if form == "log_scores" else logits.softmax(dim=1)
    return torch.nn.functional.logsigmoid(logits) if form == "log_scores" else logits.sigmoid()
