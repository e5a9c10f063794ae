"""Finding the state dict in what a checkpoint holds."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from torch import Tensor

from gatehouse_server.convert.port import ConversionError

RECURRENT_NAME: Final = re.compile(
    r"(?P<prefix>(?:.*\.)?)(?P<matrix>weight_ih|weight_hh|weight_hr|bias_ih|bias_hh)"
    r"(?:_l(?P<layer>\d{1,4})(?P<reverse>_reverse)?)?(?P<raw>_raw)?"
)
"""torch's names of recurrent parameters. Those of single cells (`nn.LSTMCell`) have no layer; a weight-drop's have
`_raw` behind them.
"""
_WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "module",
    "weights",
    "params",
)
_DEPTH = 3
_SAVE = 'torch.save(module.state_dict(), "weights.pt")'

_Held = Mapping[Any, Any]
_Place = tuple[str, ...]


def find_state_dict(held: object) -> tuple[dict[str, Tensor], str]:
    """The tensors by name, and where they were found ("" at the top, or "model.state_dict").

    Looks into the dictionaries of a checkpoint for the one with recurrent weights. Of several that one counts whose
    name is usual. Dictionaries of tensors beside it belong to it, unless its name says that it is a whole model.
    Raises ConversionError where there is none, or where it can't be told which.
    """
    if not isinstance(held, Mapping):
        raise ConversionError(f"expected a state dict, got {type(held).__name__}", f"save one with {_SAVE}")
    found = dict(_sets(held, (), set()))
    if not found:
        raise ConversionError(
            "holds no weights of nn.LSTM, nn.GRU or nn.RNN (names such as weight_ih_l0)",
            f"save the state dict with {_SAVE}, or tell with --mapping FILE where its parameters are",
        )
    place = _chosen(found)
    if not place or place[-1] in _WRAPPERS:
        return dict(_tensors(found[place], "")), ".".join(place)
    return dict(_with_siblings(held, place)), ".".join(place[:-1])


def _sets(held: _Held, place: _Place, seen: set[int]) -> Iterator[tuple[_Place, _Held]]:
    """Every dictionary that has recurrent weights of its own. Each is looked into once, however often it is held."""
    if id(held) in seen:
        return
    seen.add(id(held))
    if any(RECURRENT_NAME.fullmatch(name) for name, _ in _tensors(held, "")):
        yield place, held
    if len(place) < _DEPTH:
        for name, value in held.items():
            if isinstance(name, str) and isinstance(value, Mapping):
                yield from _sets(value, (*place, name), seen)


def _chosen(found: Mapping[_Place, _Held]) -> _Place:
    if len(found) == 1:
        return next(iter(found))
    if () in found:
        return ()
    usual = [place for wrapper in _WRAPPERS for place in found if place[-1] == wrapper]
    wholes = {place[:-1] for place in found}
    if usual:
        return usual[0]
    if len(wholes) == 1:
        # Parts of one model, each in a dictionary of its own: {"encoder": ..., "decoder": ...}.
        return next(iter(found))
    names = ", ".join(".".join(place) for place in found)
    keys = "".join(f"[{key!r}]" for key in next(iter(found)))
    raise ConversionError(
        f"holds several sets of recurrent weights ({names})",
        f'save the one to serve: torch.save(checkpoint{keys}, "weights.pt")',
    )


def _with_siblings(held: _Held, place: _Place) -> Iterator[tuple[str, Tensor]]:
    parent = held
    for name in place[:-1]:
        parent = parent[name]
    for name, value in parent.items():
        if not isinstance(name, str):
            continue
        if isinstance(value, Mapping) and value and all(isinstance(each, Tensor) for each in value.values()):
            yield from _tensors(value, f"{name}.")
        elif isinstance(value, Tensor):
            yield name, value


def _tensors(held: _Held, prefix: str) -> Iterator[tuple[str, Tensor]]:
    for name, value in held.items():
        if isinstance(name, str) and isinstance(value, Tensor):
            yield prefix + name, value
