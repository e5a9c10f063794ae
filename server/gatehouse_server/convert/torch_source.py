"""torch state dicts: an `nn.LSTM`, `nn.GRU` or `nn.RNN`, with an embedding before and a dense layer behind it."""

from pathlib import Path

from torch import Tensor

from gatehouse_server.convert.port import ConversionError, ConvertedModel, SourceOptions, not_servable
from gatehouse_server.convert.recurrent_choice import choose_recurrent
from gatehouse_server.convert.recurrent_modules import RecurrentModule, find_recurrent
from gatehouse_server.convert.state_dict import find_state_dict
from gatehouse_server.convert.state_part import Part, parts_around
from gatehouse_server.convert.surroundings import Surroundings, find_embedding, find_head
from gatehouse_server.convert.tensors import as_float32, notes_on_types
from gatehouse_server.convert.torch_file import is_torch_file, read_torch_file
from gatehouse_server.convert.torch_reference import torch_reference

_POOLINGS = "last, mean, max (of several, joined in that order) or none, an output at each step"


class TorchSource:
    """`.pt`, `.pth` and `.safetensors`."""

    name = "torch"

    def detect(self, path: Path) -> bool:
        """By first bytes or, of a damaged file, by name."""
        return is_torch_file(path)

    def read(self, path: Path, options: SourceOptions) -> ConvertedModel:
        """See `Source`."""
        state, place = find_state_dict(read_torch_file(path))
        modules, used = find_recurrent(state)
        chosen = choose_recurrent(modules, options.recurrent)
        parts = parts_around(state, used)
        others = tuple(f"a recurrent module `{module.name}`" for module in modules if module not in chosen)
        around = _around(parts, chosen, options)
        left_out = (*others, *(part.told() for part in around.left_out))
        if left_out and not options.as_encoder:
            raise not_servable(left_out)
        pooling = _pooling(around, chosen, options)
        cells = tuple(_cell(module, options) for module in chosen)
        taken = _taken(chosen, around)
        return ConvertedModel(
            config=_config(chosen, cells, around, pooling),
            parameters={name: as_float32(name, tensor) for name, tensor in taken.items()},
            notes=(
                *_notes(place, chosen, around, pooling),
                *notes_on_types(taken),
            ),
            left_out=left_out,
            reference=torch_reference(chosen, cells, around, pooling),
        )


def _around(
    parts: tuple[Part, ...], chosen: tuple[RecurrentModule, ...], options: SourceOptions
) -> Surroundings:
    embedding = find_embedding(parts, input_size=chosen[0].input_size, wanted=options.embedding)
    return find_head(
        parts,
        embedding,
        output_size=chosen[-1].output_size,
        wanted="none" if options.as_encoder else options.head,
        poolings=None if options.pooling is None else len(options.pooling),
    )


def _pooling(
    around: Surroundings, chosen: tuple[RecurrentModule, ...], options: SourceOptions
) -> tuple[str, ...]:
    if options.pooling is not None:
        return options.pooling
    if not around.has_head or _predicts_tokens(around, chosen):
        return ()
    raise ConversionError(
        "a state dict does not tell how the steps become what the head reads",
        f"say it with --pooling: {_POOLINGS}",
    )


def _predicts_tokens(around: Surroundings, chosen: tuple[RecurrentModule, ...]) -> bool:
    """Whether each token of a vocabulary leads to scores of all of them: then it is a language model."""
    if around.embedding is None or around.embedding.weight is None or around.poolings != 1:
        return False
    size = around.embedding.weight.shape[0]
    return (around.tied or _head_size(around) == size) and not any(module.bidirectional for module in chosen)


def _head_size(around: Surroundings) -> int:
    if around.tied:
        assert around.embedding is not None
        assert around.embedding.weight is not None
        return around.embedding.weight.shape[0]
    assert around.head is not None
    assert around.head.weight is not None
    return around.head.weight.shape[0]


def _cell(module: RecurrentModule, options: SourceOptions) -> str:
    if module.cell != "rnn":
        if options.activation is not None:
            raise ConversionError(
                f"--activation {options.activation}: {module.name} is of {module.cell} cells, which have their own",
                "leave it out",
            )
        return module.cell
    if options.activation is None:
        raise ConversionError(
            f"{module.name} is an nn.RNN, and a state dict does not tell its nonlinearity",
            "say it with --activation tanh (torch's default) or --activation relu",
        )
    return f"rnn_{options.activation}"


def _config(
    chosen: tuple[RecurrentModule, ...],
    cells: tuple[str, ...],
    around: Surroundings,
    pooling: tuple[str, ...],
) -> dict[str, object]:
    config: dict[str, object] = {"recurrent": _recurrent(chosen, cells)}
    if around.embedding is not None:
        assert around.embedding.weight is not None
        size, width = around.embedding.weight.shape
        config["input"] = {"kind": "tokens", "vocabulary_size": size, "embedding_size": width}
    else:
        config["input"] = {"kind": "features", "size": chosen[0].input_size}
    if pooling:
        config["pooling"] = list(pooling)
    if around.has_head:
        bias = around.head is not None and around.head.bias is not None
        config["head"] = {"size": _head_size(around), "bias": bias, "tied": around.tied}
        if _predicts_tokens(around, chosen) and not pooling:
            config["task"] = "language_model"
    elif not around.has_head:
        config["task"] = "encoder"
    return config


def _recurrent(chosen: tuple[RecurrentModule, ...], cells: tuple[str, ...]) -> dict[str, object]:
    lowest = chosen[0]
    section: dict[str, object] = {"input_size": lowest.input_size, **_layer(lowest, cells[0])}
    if len(chosen) == 1:
        return section | {"layers": lowest.layers}
    layers = [
        _layer(module, cell) for module, cell in zip(chosen, cells, strict=True) for _ in range(module.layers)
    ]
    return section | {"layers": layers}


def _layer(module: RecurrentModule, cell: str) -> dict[str, object]:
    return {
        "cell": cell,
        "hidden_size": module.hidden_size,
        "projection_size": module.projection_size,
        "bias": module.bias,
        "bidirectional": module.bidirectional,
    }


def _taken(chosen: tuple[RecurrentModule, ...], around: Surroundings) -> dict[str, Tensor]:
    """The tensors of the source that are served, by our names."""
    taken: dict[str, Tensor] = {}
    if around.embedding is not None:
        taken["embedding.weight"] = around.embedding.tensors["weight"]
    below = 0
    for module in chosen:
        for name, tensor in module.tensors.items():
            matrix, _, rest = name.rpartition("_l")
            layer, _, reverse = rest.partition("_")
            taken[f"rnn.{matrix}_l{below + int(layer)}{'_reverse' if reverse else ''}"] = tensor
        below += module.layers
    if around.head is not None:
        if not around.tied:
            taken["head.weight"] = around.head.tensors["weight"]
        if around.head.bias is not None:
            taken["head.bias"] = around.head.bias
    return taken


def _notes(
    place: str, chosen: tuple[RecurrentModule, ...], around: Surroundings, pooling: tuple[str, ...]
) -> list[str]:
    notes = [f"weights found in {place} of the checkpoint"] if place else []
    for module in chosen:
        kind = "bidirectional " if module.bidirectional else ""
        notes.append(
            f"{kind}{module.cell} of {module.layers} layer{'s' * (module.layers > 1)} from {module.name}"
        )
        if module.dropped:
            notes.append(f"raw weights of a weight-drop are used: {', '.join(module.dropped)}")
    if len(chosen) > 1:
        notes.append(
            "recurrent modules are stacked in this order; assumed that only dropout lies between them"
        )
    if around.embedding is not None:
        notes.append(f"embedding from {around.embedding.name}")
    if around.head is not None:
        notes.append(
            f"head from {around.head.name}" + (", whose weight is the embedding's" if around.tied else "")
        )
    elif around.tied:
        notes.append("head without a bias, whose weight is the embedding's")
    if "last" in pooling and any(module.bidirectional for module in chosen[-1:]):
        notes.append(
            "pooling last is torch's h_n: the reverse direction at the first step. A module that takes "
            "output[:, -1] reads that direction at the last step, and is another one"
        )
    return notes
