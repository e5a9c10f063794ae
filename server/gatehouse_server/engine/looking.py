"""Looking inside of a model, for sessions and documents alike: arrays in, arrays out, in pieces of a millisecond."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gatehouse_server.engine.job import Floats, Ids
from gatehouse_server.errors import InvalidInput
from gatehouse_server.network.network import Network
from gatehouse_server.network.spec import NetworkSpec, TokenInputSpec
from gatehouse_server.network.state import State

_FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerActivations:
    """One direction of one layer: by name (T, width) float32 each, in the order of the steps."""

    layer: int
    reverse: bool
    values: Mapping[str, Floats]


class Looker:
    """Looks into one network, on the thread that uses it."""

    def __init__(self, network: Network) -> None:
        self._network = network

    @cached_property
    def step_bytes(self) -> int:
        """What the activations of one step take. Found out by looking at one."""
        looks = run_through(self._look(_any_step(self._network.spec), None))
        return sum(values.nbytes for look in looks for values in look.values.values())

    def check_size(self, steps: int, *, limit_bytes: int, field: str) -> None:
        """Raises InvalidInput when the activations of so many steps would take more than `limit_bytes`."""
        size = self.step_bytes * steps
        if size > limit_bytes:
            raise InvalidInput.of_field(
                field,
                f"the activations of {steps} steps would take {size} bytes, and at most {limit_bytes} are allowed: "
                f"look at {limit_bytes // self.step_bytes} steps at a time",
                reason="OUTPUTS_TOO_LARGE",
            )

    def look(
        self, inputs: Ids | Floats, state: Floats | None = None
    ) -> Generator[None, None, tuple[LayerActivations, ...]]:
        """One sequence, token ids (T,) int64 or features (T, F) float32, at least one step, from a state (S,), its
        parts one after the other, or from the beginning. The lowest layer comes first, forward before reverse.

        Yields after every piece; the network may then be used for something else.
        """
        return self._look(torch.tensor(inputs), state)

    def _look(
        self, inputs: Tensor, state: Floats | None
    ) -> Generator[None, None, tuple[LayerActivations, ...]]:
        looks = yield from self._network.look(
            inputs.to(self._network.device), None if state is None else self._parts_of(state)
        )
        return tuple(
            LayerActivations(
                layer=look.layer,
                reverse=look.direction == "reverse",
                values={name: values.cpu().numpy() for name, values in look.seen.items()},
            )
            for look in looks
        )

    def _parts_of(self, state: Floats) -> State:
        widths = [part.width for part in self._network.layout.parts]
        row = torch.tensor(state).to(self._network.device).unsqueeze(0)
        return tuple(part.contiguous() for part in torch.split(row, widths, dim=1))


def _any_step(spec: NetworkSpec) -> Tensor:
    if isinstance(spec.input, TokenInputSpec):
        return torch.zeros(1, dtype=torch.int64)
    return torch.zeros(1, spec.input.size)


def run_through(
    looking: Generator[None, None, tuple[LayerActivations, ...]],
) -> tuple[LayerActivations, ...]:
    """All pieces at once."""
    while True:
        try:
            next(looking)
        except StopIteration as done:
            activations: tuple[LayerActivations, ...] = done.value
            return activations
