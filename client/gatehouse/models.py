"""What `list_models` and `get_model` answer."""

from __future__ import annotations

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
    """One matrix of parameters; `formula` gives the count in terms of the sizes."""

    name: str
    shape: tuple[int, ...]
    count: int
    formula: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A trained network with what belongs to it.

    When it is not `ready`, `failure` says in one line what to mend, and everything after it is empty. Exactly
    one of `tokens` and `features` is set otherwise. `online` models run sessions. `reproducible` ones proved, as
    they were loaded, that answers do not depend on what else the server computes, to the bit.
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
    pooling: tuple[str, ...]
    tokens: TokenInput | None
    features: FeatureInput | None
    labels: tuple[str, ...]
    parameters: tuple[ParameterMatrix, ...]
    parameter_count: int
    fingerprint: str
    memory_bytes: int
    state_bytes: int
    load_seconds: float
    card: str
    arithmetic: str
    reproducible: bool

    @property
    def full_name(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"
