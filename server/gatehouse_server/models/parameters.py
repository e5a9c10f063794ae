"""The parameter table: each matrix of a model with its shape, its count and where the count comes from."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from gatehouse_server.models.dimensions import Letters
from gatehouse_server.network.layer_spec import Direction, LayerSpec
from gatehouse_server.network.spec import NetworkSpec, parameter_shapes, recurrent_name

_GATES = {"lstm": 4, "gru": 3, "rnn": 1, "rnn_tanh": 1, "rnn_relu": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterMatrix:
    """One matrix: torch's name, its shape, its count, and the count as a formula of `Letters`.

    Of a cell from outside only the count is known, and the formula is empty.
    """

    name: str
    shape: tuple[int, ...]
    count: int
    formula: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterSum:
    """All parameters of one direction of a layer.

    `one_bias_count` is how many there would be with one bias for each gate, as in Keras and in most textbooks. torch's
    modules have two, of which only the sum counts. 0, with an empty formula, where there is none, or where both are
    needed: those of a GRU with the reset after the product, which Keras has, too.
    """

    direction: Direction
    count: int
    formula: str
    one_bias_count: int
    one_bias_formula: str


def parameter_table(spec: NetworkSpec) -> tuple[ParameterMatrix, ...]:
    """One row for each matrix, in the order of `parameter_shapes`. A tied head is no matrix of its own."""
    formulas = _formulas(spec)
    return tuple(
        ParameterMatrix(name=name, shape=shape, count=prod(shape), formula=formulas.get(name, ""))
        for name, shape in parameter_shapes(spec).items()
    )


def parameter_sums(spec: NetworkSpec, layer: int) -> tuple[ParameterSum, ...]:
    """One for each direction of a layer."""
    own, letters = spec.recurrent.layers[layer], Letters(spec)
    return tuple(_sum(own, layer, direction, letters) for direction in own.directions)


def _sum(own: LayerSpec, layer: int, direction: Direction, letters: Letters) -> ParameterSum:
    count = sum(map(prod, own.parameter_shapes(direction).values()))
    gates = gate_count(own, direction)
    formula = one_bias_formula = ""
    one_bias_count = 0
    if gates is not None:
        formula = _sum_formula(own, layer, direction, letters, biases=2 if own.bias else 0)
        if own.bias and not needs_both_biases(own, direction):
            one_bias_count = count - gates * own.hidden_size
            one_bias_formula = _sum_formula(own, layer, direction, letters, biases=1)
    return ParameterSum(
        direction=direction,
        count=count,
        formula=formula,
        one_bias_count=one_bias_count,
        one_bias_formula=one_bias_formula,
    )


def gate_count(layer: LayerSpec, direction: Direction) -> int | None:
    """How many gates stand below each other in a direction's matrices; None for a cell from outside."""
    gates = _GATES.get(layer.cell)
    return 3 if gates == 4 and layer.options_of(direction).coupled else gates


def needs_both_biases(layer: LayerSpec, direction: Direction) -> bool:
    """Whether the two biases are more than their sum: in a GRU whose reset gate multiplies one of them."""
    return layer.cell == "gru" and layer.options_of(direction).reset == "after"


def _sum_formula(own: LayerSpec, layer: int, direction: Direction, letters: Letters, *, biases: int) -> str:
    gates = gate_count(own, direction)
    assert gates is not None
    hidden = letters.hidden(layer)
    read = f"({letters.read(layer)} + {letters.step(layer)}{f' + {biases}' if biases else ''})"
    sum_of_gates = f"{_rows(gates, '')}{read}·{hidden}"
    others = [formula for name, formula in _others(own, layer, direction, letters)]
    return " + ".join([sum_of_gates, *others])


def _formulas(spec: NetworkSpec) -> dict[str, str]:
    letters = Letters(spec)
    formulas = {"embedding.weight": "V·E", "initial.weight": "S·I", "initial.bias": "S"}
    for number, layer in enumerate(spec.recurrent.layers):
        for direction in layer.directions:
            for name, formula in _of_direction(layer, number, direction, letters):
                formulas[recurrent_name(name, number, direction)] = formula
    poolings = f"{len(spec.pooling)}·" if len(spec.pooling) > 1 else ""
    top = letters.handed_on(len(spec.recurrent.layers) - 1)
    return formulas | {"head.weight": f"{letters.head}·{_factor(poolings + top)}", "head.bias": letters.head}


def _of_direction(
    own: LayerSpec, layer: int, direction: Direction, letters: Letters
) -> Iterator[tuple[str, str]]:
    gates = gate_count(own, direction)
    if gates is None:
        return
    rows = _rows(gates, letters.hidden(layer))
    yield "weight_ih", f"{rows}·{_factor(letters.read(layer))}"
    yield "weight_hh", f"{rows}·{letters.step(layer)}"
    yield "bias_ih", rows
    yield "bias_hh", rows
    yield from _others(own, layer, direction, letters)


def _others(own: LayerSpec, layer: int, direction: Direction, letters: Letters) -> Iterator[tuple[str, str]]:
    """What does not stand gate below gate over all that is read."""
    hidden, step = letters.hidden(layer), letters.step(layer)
    if own.options_of(direction).peepholes:
        yield "peephole", f"{2 if own.options_of(direction).coupled else 3}·{hidden}"
    if own.projection_size:
        yield "weight_hr", f"{step}·{hidden}"
    if own.initial_state:
        yield "initial_h", step
        if own.cell == "lstm":
            yield "initial_c", hidden


def _rows(gates: int, hidden: str) -> str:
    return hidden if gates == 1 else f"{gates}·{hidden}"


def _factor(term: str) -> str:
    return f"({term})" if "·" in term else term
