"""The recurrent modules of a torch state dict: which there are, and what their shapes tell about them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from gatehouse_server.convert.port import ConversionError
from gatehouse_server.convert.state_dict import RECURRENT_NAME
from gatehouse_server.convert.tensors import check_dimensions, listed, shape_of

_CELLS = {1: "rnn", 3: "gru", 4: "lstm"}
_SAVE = "save the whole state dict of the module"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurrentModule:
    """An `nn.LSTM`, `nn.GRU` or `nn.RNN` (`cell` "rnn": its activation is in no file). `tensors` by torch's names."""

    prefix: str
    """What stands before the names, with its point: "encoder.rnn."."""
    cell: str
    input_size: int
    hidden_size: int
    projection_size: int
    layers: int
    bidirectional: bool
    bias: bool
    tensors: Mapping[str, Tensor]
    dropped: tuple[str, ...]
    """Weights that a weight-drop had left beside the raw ones."""

    @property
    def name(self) -> str:
        """For people."""
        return self.prefix.removesuffix(".") or "(top)"

    @property
    def output_size(self) -> int:
        """Values per step: both directions beside each other."""
        return (self.projection_size or self.hidden_size) * (2 if self.bidirectional else 1)


def find_recurrent(state: Mapping[str, Tensor]) -> tuple[tuple[RecurrentModule, ...], frozenset[str]]:
    """The recurrent modules, as people count (`rnns.2` before `rnns.10`), and the names that belong to them.

    Raises ConversionError for weights that are missing, left over, or of shapes that do not fit each other.
    """
    groups: dict[str, dict[str, tuple[Tensor, bool]]] = {}
    dropped: dict[str, list[str]] = {}
    used = set()
    raw_prefixes = {
        match["prefix"] for name in state if (match := RECURRENT_NAME.fullmatch(name)) and match["raw"]
    }
    for name, tensor in state.items():
        match = RECURRENT_NAME.fullmatch(name)
        if match is None:
            continue
        used.add(name)
        # A weight-drop keeps the raw weights itself, and the module that it wraps below itself.
        outer = match["prefix"].removesuffix("module.")
        prefix = outer if outer in raw_prefixes else match["prefix"]
        matrix = f"{match['matrix']}_l{int(match['layer'] or 0)}{match['reverse'] or ''}"
        group, raw = groups.setdefault(prefix, {}), match["raw"] is not None
        if matrix in group:
            dropped.setdefault(prefix, []).append(matrix)
        if matrix not in group or raw:
            group[matrix] = (tensor, raw)
    _refuse_normalised(state)
    modules = [
        _module(prefix, {name: tensor for name, (tensor, _) in group.items()}, tuple(dropped.get(prefix, ())))
        for prefix, group in groups.items()
    ]
    return tuple(sorted(modules, key=lambda module: natural_order(module.prefix))), frozenset(used)


def natural_order(name: str) -> tuple[tuple[int, int, str], ...]:
    """A key that sorts names as people read them: "rnns.2" before "rnns.10"."""
    return tuple(
        (1, int(part), "") if part.isdecimal() else (0, 0, part) for part in re.findall(r"\d+|\D+", name)
    )


def _refuse_normalised(state: Mapping[str, Tensor]) -> None:
    pattern = re.compile(
        r".*(weight_(ih|hh|hr)_l\d+(_reverse)?(_g|_v|_orig)|parametrizations\.weight_(ih|hh|hr)_l\d+.*)"
    )
    strays = [name for name in state if pattern.fullmatch(name)]
    if strays:
        raise ConversionError(
            f"{listed(strays)}: the recurrent weights are normalised or pruned, and computed when the module runs",
            "make it permanent before saving: torch.nn.utils.remove_weight_norm, parametrize.remove_parametrizations "
            "or prune.remove",
        )


def _module(prefix: str, tensors: Mapping[str, Tensor], dropped: tuple[str, ...]) -> RecurrentModule:
    bidirectional = any(name.endswith("_reverse") for name in tensors)
    layers = 1 + max(_layer(name) for name in tensors)
    bias = any(name.startswith("bias") for name in tensors)
    projected = any(name.startswith("weight_hr") for name in tensors)
    if layers > len(tensors):
        raise ConversionError(
            f"{prefix}weight_ih_l0: layers up to {layers - 1} are named, most are missing", _SAVE
        )
    names = ["weight_ih_l0", "weight_hh_l0", *(["weight_hr_l0"] if projected else [])]
    first = [_of(prefix, tensors, name) for name in names]
    if any(tensor.dim() != 2 for tensor in first):
        raise ConversionError(
            f"{prefix}{', '.join(names)}: expected two axes, got {' and '.join(map(shape_of, first))}",
            _SAVE,
        )
    rows, width = first[1].shape
    projection = 0
    if projected:
        projection, hidden = first[2].shape
        cell = "lstm" if rows == 4 * hidden and projection == width else None
    else:
        hidden = width
        cell = _CELLS.get(rows // hidden) if hidden and rows % hidden == 0 else None
    if cell is None or not hidden:
        raise ConversionError(
            f"{prefix}weight_hh_l0: {shape_of(first[1])} is of no LSTM (4 H, H), GRU (3 H, H) or RNN (H, H)",
            "tell with --mapping FILE what it is",
        )
    module = RecurrentModule(
        prefix=prefix,
        cell=cell,
        input_size=first[0].shape[1],
        hidden_size=hidden,
        projection_size=projection,
        layers=layers,
        bidirectional=bidirectional,
        bias=bias,
        tensors=tensors,
        dropped=dropped,
    )
    _check_shapes(module, rows)
    return module


def _check_shapes(module: RecurrentModule, rows: int) -> None:
    expected: dict[str, tuple[int, ...]] = {}
    width = module.projection_size or module.hidden_size
    for layer in range(module.layers):
        source = module.output_size if layer else module.input_size
        for direction in ("", "_reverse") if module.bidirectional else ("",):
            end = f"_l{layer}{direction}"
            expected |= {f"weight_ih{end}": (rows, source), f"weight_hh{end}": (rows, width)}
            if module.bias:
                expected |= {f"bias_ih{end}": (rows,), f"bias_hh{end}": (rows,)}
            if module.projection_size:
                expected[f"weight_hr{end}"] = (width, module.hidden_size)
    missing = [module.prefix + name for name in expected if name not in module.tensors]
    if missing:
        raise ConversionError(
            f"lacks {listed(missing)} ({module.cell}, {module.layers} layer{'s' * (module.layers > 1)})",
            _SAVE,
        )
    surplus = [module.prefix + name for name in module.tensors if name not in expected]
    if surplus:
        raise ConversionError(f"holds {listed(surplus)}, which fits nothing else of {module.name}", _SAVE)
    for name, shape in expected.items():
        tensor = module.tensors[name]
        if tuple(tensor.shape) != shape:
            wanted = "(" + ", ".join(map(str, shape)) + ")"
            raise ConversionError(
                f"{module.prefix}{name}: expected {wanted} beside the others of {module.name}, got {shape_of(tensor)}",
                _SAVE,
            )
        check_dimensions(module.prefix + name, tensor)


def _layer(name: str) -> int:
    return int(name.removesuffix("_reverse").rpartition("_l")[2])


def _of(prefix: str, tensors: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in tensors:
        raise ConversionError(f"lacks {prefix}{name}", _SAVE)
    return tensors[name]
