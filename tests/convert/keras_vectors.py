"""The 35 cases of `vectors/keras`: layers as Keras 2 made them, an input, and what Keras answered."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.convert.keras_models import Layer, bidirectional, recurrent

FOLDER = Path(__file__).parent / "vectors" / "keras"
_ARGUMENT = re.compile(r"(\w+)=(?:'(\w+)'|(True|False)|(\d+))")


@dataclass(frozen=True, kw_only=True)
class KerasCase:
    """`expected`: the second answer to the same input, of stateful layers."""

    name: str
    layer: Layer
    inputs: np.ndarray
    expected: np.ndarray

    @property
    def config(self) -> dict[str, Any]:
        """The arguments of the recurrent layer, wrapped or not."""
        return (
            self.layer.config["layer"]["config"] if self.layer.kind == "Bidirectional" else self.layer.config
        )

    @property
    def stateful(self) -> bool:
        return bool(self.config["stateful"])

    @property
    def backwards(self) -> bool:
        return bool(self.config["go_backwards"])

    @property
    def every_step(self) -> bool:
        return bool(self.config["return_sequences"])

    @property
    def model(self) -> str:
        """A name that a model may have."""
        return self.name.lower()


def _array(held: dict[str, Any]) -> np.ndarray:
    return np.asarray(held["data"], np.float32).reshape(held["shape"])


def _arguments(told: str) -> dict[str, Any]:
    return {
        name: text or (truth == "True" if truth else int(number))
        for name, text, truth, number in _ARGUMENT.findall(told)
    }


def _case(name: str, told: str, held: dict[str, Any]) -> KerasCase:
    arrays = [_array(each) for each in held["weights"]]
    kind = name.split(".")[1]
    if kind == "Bidirectional":
        wrapped = re.fullmatch(r"merge_mode='(\w+)', wrap a (\w+) layer with (.*)", told)
        assert wrapped is not None
        mode, kind, told = wrapped.groups()
        layer = bidirectional("wrapped", _recurrent(kind, (), told), arrays, mode)
    else:
        layer = _recurrent(kind, arrays, told)
    return KerasCase(name=name, layer=layer, inputs=_array(held["input"]), expected=_array(held["expected"]))


def _recurrent(kind: str, arrays: Any, told: str) -> Layer:
    # In that Keras there was no reset after the product yet.
    extra = {"reset_after": False} if kind == "GRU" else {}
    return recurrent(kind, "body", arrays, **{**extra, **_arguments(told)})


def keras_cases() -> list[KerasCase]:
    """All of them."""
    told = json.loads((FOLDER / "configs.json").read_text())
    cases = []
    for kind in ("LSTM", "GRU", "SimpleRNN", "Bidirectional"):
        held = json.loads((FOLDER / f"{kind}.json").read_text())
        cases += [_case(name, told[name], each) for name, each in held.items()]
    return cases
