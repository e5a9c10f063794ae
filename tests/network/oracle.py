"""What torch's own modules compute, for comparison: the oracle of the network tests."""

from collections.abc import Callable
from typing import Any

import torch
from gatehouse_server.network.spec import NetworkSpec, RecurrentSpec, parameter_shapes, recurrent_name
from torch import Tensor, nn

_MODULES: dict[str, tuple[Callable[..., nn.RNNBase], dict[str, Any]]] = {
    "lstm": (nn.LSTM, {}),
    "gru": (nn.GRU, {}),
    "rnn_tanh": (nn.RNN, {"nonlinearity": "tanh"}),
    "rnn_relu": (nn.RNN, {"nonlinearity": "relu"}),
}


def random_parameters(spec: NetworkSpec, seed: int = 0) -> dict[str, Tensor]:
    """Parameters of the right shapes, as large as stable networks of rectifiers may have them."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=generator) * min(0.5, (1.0 / shape[-1]) ** 0.5)
        for name, shape in parameter_shapes(spec).items()
    }


def ragged(lengths: list[int], width: int, seed: int = 0) -> list[Tensor]:
    """Random feature sequences (T_i, width)."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(length, width, generator=generator) for length in lengths]


def reference(
    spec: RecurrentSpec, parameters: dict[str, Tensor], sequences: list[Tensor]
) -> tuple[list[Tensor], Tensor]:
    """Outputs (T_i, R) of each sequence, computed alone by torch's modules, and the merged ends (B, R).

    Stacks are composed by hand from single bidirectional layers, merged after each.
    """
    outputs, ends = list(sequences), torch.empty(0)
    for layer in range(spec.layers):
        module = _module_of(spec, parameters, layer)
        results = [module(sequence.unsqueeze(0)) for sequence in outputs]
        outputs = [_merged(spec, result[0][0]) for result in results]
        lasts = [result[1][0] if spec.cell == "lstm" else result[1] for result in results]
        ends = torch.stack([_merged(spec, last[:, 0].reshape(-1)) for last in lasts])
    return [output.detach() for output in outputs], ends.detach()


def reference_state(
    spec: RecurrentSpec, parameters: dict[str, Tensor], sequence: Tensor
) -> tuple[Tensor, ...]:
    """The state (width,) of each part after one sequence, one direction, computed by torch's modules."""
    state: list[Tensor] = []
    for layer in range(spec.layers):
        module = _module_of(spec, parameters, layer)
        output, last = module(sequence.unsqueeze(0))
        state.extend(part.detach()[0, 0] for part in (last if spec.cell == "lstm" else (last,)))
        sequence = output[0]
    return tuple(state)


def _module_of(spec: RecurrentSpec, parameters: dict[str, Tensor], layer: int) -> nn.Module:
    kind, options = _MODULES[spec.cell]
    if spec.cell == "lstm":
        options = {"proj_size": spec.projection_size}
    size = spec.cell_size(layer)
    module = kind(
        size.input_size,
        size.hidden_size,
        bias=spec.bias,
        bidirectional=spec.bidirectional,
        batch_first=True,
        **options,
    )
    own = {}
    for name in module.state_dict():
        stem, reverse = name.removesuffix("_reverse"), name.endswith("_reverse")
        own[name] = parameters[recurrent_name(stem.removesuffix("_l0"), layer, int(reverse))]
    module.load_state_dict(own)
    return module.eval()


def _merged(spec: RecurrentSpec, joined: Tensor) -> Tensor:
    if not spec.bidirectional or spec.merge == "concat":
        return joined
    forward, reverse = joined.chunk(2, dim=-1)
    if spec.merge == "multiply":
        return forward * reverse
    return (forward + reverse) * (0.5 if spec.merge == "average" else 1.0)
