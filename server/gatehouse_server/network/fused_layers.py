"""Recurrent layers as torch's own modules, whose fused kernels take many steps at once: on a GPU those of cuDNN.

A module has one direction of one layer, so that a state can be carried from one slice of steps to the next.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gatehouse_server.network.arithmetic import Arithmetic
from gatehouse_server.network.cell import Cell, CellSize
from gatehouse_server.network.cell_options import DEFAULT_OPTIONS
from gatehouse_server.network.layer_spec import Direction, LayerSpec
from gatehouse_server.network.spec import NetworkSpec, RecurrentSpec, TokenInputSpec, recurrent_name

_MODULES: Final[Mapping[str, tuple[Callable[..., nn.RNNBase], Mapping[str, str]]]] = MappingProxyType(
    {
        "lstm": (nn.LSTM, {}),
        "gru": (nn.GRU, {}),
        "rnn": (nn.RNN, {"nonlinearity": "tanh"}),
        "rnn_tanh": (nn.RNN, {"nonlinearity": "tanh"}),
        "rnn_relu": (nn.RNN, {"nonlinearity": "relu"}),
    }
)


def are_layers_fused(spec: NetworkSpec, device: torch.device, arithmetic: Arithmetic) -> bool:
    """Whether whole sequences are better read by fused kernels.

    They are not on a CPU, where the network's own scan is faster; nor where answers have to be the same to the bit in
    any company; nor with int8, which they do not know, and whose small weights they would have beside them in float32.
    """
    return (
        device.type == "cuda"
        and not arithmetic.reproducible
        and arithmetic.precision != "int8"
        and all(_is_torchs(layer) for layer in spec.recurrent.layers)
    )


def _is_torchs(layer: LayerSpec) -> bool:
    plain = layer.options == DEFAULT_OPTIONS and layer.reverse_options in (None, DEFAULT_OPTIONS)
    return plain and layer.cell in _MODULES and not layer.initial_state


class FusedLayer:
    """One direction of one layer."""

    def __init__(self, size: CellSize, kind: type[Cell], module: nn.RNNBase, device: torch.device) -> None:
        """Use `FusedLayers`."""
        self._module = module
        self._widths = [part.width for part in kind.parts(size)]
        self._device = device

    def zeros(self, rows: int) -> tuple[Tensor, ...]:
        """The state that sequences begin with: its parts (rows, width), the output h first."""
        return tuple(torch.zeros(rows, width, device=self._device) for width in self._widths)

    def advance(self, x: Tensor, host_sizes: Tensor, state: tuple[Tensor, ...]) -> Tensor:
        """Packed steps x (N, F), host_sizes (T,) rows in each, on the host -> their h (N, width).

        `state` is updated in place; the rows of sequences that are not among these steps stay as they are.
        """
        rows = int(host_sizes[0])
        active = tuple(part[:rows] for part in state)
        before = tuple(part.unsqueeze(0) for part in active)
        packed = PackedSequence(x, host_sizes)
        outputs, after = self._module(packed, before if len(before) > 1 else before[0])
        for part, new in zip(active, after if len(before) > 1 else (after,), strict=True):
            part.copy_(new[0])
        result: Tensor = outputs.data
        return result


class FusedLayers:
    """All recurrent layers of a network, the embedding included. They are torch's parameters, held once."""

    def __init__(
        self, spec: NetworkSpec, parameters: Mapping[str, Tensor], device: torch.device | str
    ) -> None:
        """`parameters` are those of the whole network, as `parameter_shapes` says; they are copied."""
        self.spec: RecurrentSpec = spec.recurrent
        self.device = torch.device(device)
        self._modules: dict[tuple[int, Direction], nn.RNNBase] = {}
        # Kernels that write into weights refuse those made in inference mode, outside of it.
        with torch.inference_mode(mode=False), torch.no_grad():
            for number, layer in enumerate(self.spec.layers):
                for direction in layer.directions:
                    module = _module_of(layer, parameters, number, direction, self.device)
                    self._modules[number, direction] = module
            self._embedding: Tensor | None = None
            if isinstance(spec.input, TokenInputSpec):
                self._embedding = parameters["embedding.weight"].to(self.device, torch.float32, copy=True)
        self._warm_up()

    def layer(self, number: int, direction: Direction) -> FusedLayer:
        """One direction of one of them, by its number from below."""
        layer = self.spec.layers[number]
        module = self._modules[number, direction]
        return FusedLayer(layer.cell_size(direction), layer.kind(direction), module, self.device)

    def vectors(self, number: int, inputs: Tensor) -> Tensor:
        """What a layer reads: of token ids (N,), which the lowest may be given, their embeddings (N, E)."""
        if number or self._embedding is None:
            return inputs
        return self._embedding.index_select(0, inputs)

    @property
    def parameters(self) -> dict[str, Tensor]:
        """By their names in the network, where they lie."""
        found = {
            recurrent_name(name.removesuffix("_l0"), layer, direction): parameter.detach()
            for (layer, direction), module in self._modules.items()
            for name, parameter in module.named_parameters()
        }
        if self._embedding is not None:
            found["embedding.weight"] = self._embedding
        return found

    @property
    def bytes(self) -> int:
        """Of all parameters."""
        return sum(parameter.nbytes for parameter in self.parameters.values())

    @torch.inference_mode()
    def _warm_up(self) -> None:
        """A step of each: libraries load their kernels when they are first used, which takes long."""
        for number, direction in self._modules:
            fused = self.layer(number, direction)
            x = torch.zeros(1, self.spec.layers[number].input_size, device=self.device)
            fused.advance(x, torch.tensor([1]), fused.zeros(1))


def _module_of(
    layer: LayerSpec,
    parameters: Mapping[str, Tensor],
    number: int,
    direction: Direction,
    device: torch.device,
) -> nn.RNNBase:
    kind, fixed = _MODULES[layer.cell]
    options: dict[str, Any] = dict(fixed)
    if layer.projection_size:
        options["proj_size"] = layer.projection_size
    # Made without weights: drawing them would cost time and change the process's random numbers.
    module = kind(layer.input_size, layer.hidden_size, bias=layer.bias, device="meta", **options)
    module.to_empty(device=device)
    # On a GPU they lie in one piece, as cuDNN wants them, since the module is there: this copies into it.
    module.load_state_dict(
        {
            f"{name}_l0": parameters[recurrent_name(name, number, direction)]
            for name in layer.parameter_shapes(direction)
        }
    )
    return module.eval().requires_grad_(requires_grad=False)
