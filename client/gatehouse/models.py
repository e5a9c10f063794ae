"""What `list_models` and `get_model` answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenInput:
    """Tokens go in. An id is None when the model has no such token."""

    vocabulary_size: int
    unknown_id: int | None
    start_id: int | None
    end_id: int | None
    accepts_text: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureInput:
    """Feature vectors go in: how many values per step, and their names if they have any."""

    size: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterMatrix:
    """One matrix of parameters; `formula` gives the count in terms of `Model.dimensions`, if it is known."""

    name: str
    shape: tuple[int, ...]
    count: int
    formula: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterSum:
    """All parameters of one direction, `forward` or `reverse`, of a layer.

    `one_bias_count` is how many there would be with one bias for each gate instead of torch's two, of which only the
    sum counts; None where both are needed, or there is none.
    """

    direction: str
    count: int
    formula: str
    one_bias_count: int | None
    one_bias_formula: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurrentLayer:
    """One recurrent layer. `direction` is `forward`, `reverse` or `both`, of which `merge` is then made.

    `projection_size` is 0 without a projection. `options` tell what the cell computes beyond its name, as
    `reset before`. `part` is `encoder` or `decoder` of a transducer, and empty otherwise.
    """

    cell: str
    input_size: int
    hidden_size: int
    projection_size: int
    direction: str
    merge: str
    output_size: int
    options: tuple[str, ...]
    part: str
    parameter_sums: tuple[ParameterSum, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A trained network with what belongs to it.

    When it is not `ready`, `failure` says in one line what to mend, and everything after it is empty. Exactly
    one of `tokens` and `features` is set otherwise. `online` models run sessions. `reproducible` ones proved, as
    they were loaded, that answers do not depend on what else the server computes, to the bit.

    `cell`, `hidden_size`, `projection_size` and `merge` are the lowest layer's; `recurrent_layers` has all.
    `dimensions` is what the letters of formulas stand for. `step_flops` and `step_bytes` are the operations of one
    step's matrix products, and the bytes of weights read for them. `session_bytes` is what a live session takes in
    memory, of which `state_bytes` for each state that it keeps; both are 0 when the model is not online. `initial_size`
    is the width of the vector that may set the state at position 0; 0: none may.
    """

    name: str
    version: str
    ready: bool
    failure: str
    task: str
    description: str
    online: bool
    cell: str
    layers: int
    hidden_size: int
    projection_size: int
    bidirectional: bool
    merge: str
    recurrent_layers: tuple[RecurrentLayer, ...]
    pooling: tuple[str, ...]
    tokens: TokenInput | None
    features: FeatureInput | None
    initial_size: int
    labels: tuple[str, ...]
    parameters: tuple[ParameterMatrix, ...]
    parameter_count: int
    dimensions: Mapping[str, int]
    step_flops: int
    step_bytes: int
    fingerprint: str
    memory_bytes: int
    state_bytes: int
    session_bytes: int
    load_seconds: float
    card: str
    arithmetic: str
    reproducible: bool

    @property
    def full_name(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"
