"""What one step of a network costs: operations, and bytes of weights."""

from dataclasses import dataclass
from math import prod

from gatehouse_server.models.parameters import gate_count, needs_both_biases
from gatehouse_server.network.arithmetic import Arithmetic, Precision
from gatehouse_server.network.layer_spec import Direction, LayerSpec
from gatehouse_server.network.spec import NetworkSpec, TokenInputSpec

_FLOAT_BYTES = 4
_WEIGHT_BYTES: dict[Precision, int] = {"float32": 4, "int8": 1, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCost:
    """Of one step of one sequence, through all layers and directions.

    `flops`: two for each weight that a vector is multiplied by, a multiplication and an addition, as Golub and Van
    Loan, Matrix Computations, chapter 1, count matrix products. Biases, activations and what gates do to states, a few
    operations for each of H, are left out. `weight_bytes`: what is read for that, each weight once. Rows that are added
    to make matrices fit processors, and the scales of small integers, are left out.
    """

    flops: int
    weight_bytes: int


def step_cost(spec: NetworkSpec, arithmetic: Arithmetic, *, folded: bool) -> StepCost:
    """`folded`: input products of tokens come out of a table, so that the lowest layer has no input matrix to multiply.

    A head that is computed once for a whole sequence, because steps are pooled, is no part of a step.
    """
    weights = others = 0
    for number, layer in enumerate(spec.recurrent.layers):
        for direction in layer.directions:
            own_weights, own_others = _of_direction(layer, direction, folded=folded and number == 0)
            weights, others = weights + own_weights, others + own_others
    if isinstance(spec.input, TokenInputSpec) and not folded:
        others += spec.input.embedding_size
    if spec.head is not None and not spec.pooling:
        weights += spec.head.size * spec.summary_size
        others += spec.head.size if spec.head.bias else 0
    return StepCost(
        flops=2 * weights,
        weight_bytes=_WEIGHT_BYTES[arithmetic.precision] * weights + _FLOAT_BYTES * others,
    )


def _of_direction(layer: LayerSpec, direction: Direction, *, folded: bool) -> tuple[int, int]:
    """Weights that vectors are multiplied by, and float32 numbers beside them: biases, peepholes, the table's row."""
    shapes = {
        name: shape
        for name, shape in layer.parameter_shapes(direction).items()
        if not name.startswith("initial_")
    }
    if gate_count(layer, direction) is not None and not needs_both_biases(layer, direction):
        shapes.pop("bias_hh", None)  # the two are added as the model is loaded
    row = 0
    if folded and "weight_ih" in shapes:
        row = shapes.pop("weight_ih")[0]
        shapes.pop("bias_ih", None)
    weights = sum(prod(shape) for shape in shapes.values() if len(shape) > 1)
    others = sum(prod(shape) for shape in shapes.values() if len(shape) == 1)
    return weights, others + row
