"""torch's own modules, built again from a state dict: what converted weights are compared with."""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gatehouse_server.convert.port import Form, Reference
from gatehouse_server.convert.recurrent_modules import RecurrentModule
from gatehouse_server.convert.surroundings import Surroundings
from gatehouse_server.convert.tensors import as_float32


def torch_reference(
    modules: Sequence[RecurrentModule], cells: Sequence[str], around: Surroundings, pooling: Sequence[str]
) -> Reference:
    """`nn.Embedding`, `nn.LSTM` and so on, and `nn.Linear`, from the source's tensors under the source's names."""
    stack = [_built(module, cell) for module, cell in zip(modules, cells, strict=True)]
    embedding = (
        None if around.embedding is None else as_float32("embedding", around.embedding.tensors["weight"])
    )
    weight = bias = None
    if around.has_head:
        head = around.embedding if around.tied else around.head
        assert head is not None
        weight = as_float32("head", head.tensors["weight"])
        if around.head is not None and around.head.bias is not None:
            bias = as_float32("head", around.head.bias)

    @torch.no_grad()
    def run(inputs: Tensor) -> Tensor:
        with warnings.catch_warnings():
            # torch warns of the way in which it computes projections.
            warnings.simplefilter("ignore")
            return answers(inputs)

    def answers(inputs: Tensor) -> Tensor:
        values = inputs if embedding is None else nn.functional.embedding(inputs, embedding)
        last = values
        for module in stack:
            values, state = module(values)
            hidden = state[0] if isinstance(state, tuple) else state
            directions = 2 if module.bidirectional else 1
            last = torch.cat(tuple(hidden[-directions:]), dim=1)
        ways = {"last": lambda: last, "mean": lambda: values.mean(dim=1), "max": lambda: values.amax(dim=1)}
        if pooling:
            values = torch.cat([ways[kind]() for kind in pooling], dim=1)
        return values if weight is None else nn.functional.linear(values, weight, bias)

    form: Form = "outputs" if weight is None else "logits"
    return Reference(name=f"torch {torch.__version__}", run=run, form=form)


def _built(module: RecurrentModule, cell: str) -> nn.RNNBase:
    arguments = {
        "num_layers": module.layers,
        "bias": module.bias,
        "bidirectional": module.bidirectional,
        "batch_first": True,
    }
    made: nn.RNNBase
    if cell == "lstm":
        made = nn.LSTM(module.input_size, module.hidden_size, proj_size=module.projection_size, **arguments)
    elif cell == "gru":
        made = nn.GRU(module.input_size, module.hidden_size, **arguments)
    else:
        nonlinearity = cell.removeprefix("rnn_")
        made = nn.RNN(module.input_size, module.hidden_size, nonlinearity=nonlinearity, **arguments)
    made.load_state_dict({name: as_float32(name, tensor) for name, tensor in module.tensors.items()})
    return made.eval()
