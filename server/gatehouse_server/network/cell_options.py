"""What a cell computes beyond its name: activations, peepholes, coupled gates, clips."""

from dataclasses import dataclass, fields
from typing import Final, Literal, get_args

GateActivation = Literal["sigmoid", "hard_sigmoid", "hard_sigmoid_fifth"]
"""`hard_sigmoid` is max(0, min(1, a / 6 + 1/2)), as Keras 3 and torch have it; `hard_sigmoid_fifth`
max(0, min(1, a / 5 + 1/2)), as Keras 2, and ONNX by default.
"""
Activation = Literal["tanh", "relu", "sigmoid", "softsign"]
"""`softsign` is a / (1 + |a|)."""
Reset = Literal["after", "before"]
"""Whether a GRU's reset gate multiplies what the recurrent product gives, or what it is given."""
Extra = bool | int | float | str


@dataclass(frozen=True, slots=True, kw_only=True)
class CellOptions:
    """Defaults are what torch's modules compute.

    `gate_activation`: of gates. `activation`: of the candidate, or of a simple cell. `output_activation`: of the cell
    state on its way out of an LSTM; None: as `activation`. `peepholes`, `coupled`: an LSTM's gates look at the cell
    state; its forget gate is one minus its input gate. `reset`: of a GRU. `gate_clip`: what goes into activations is
    kept within this distance of zero (ONNX `clip`). `cell_clip`: so is an LSTM's cell state (TensorFlow 1 `cell_clip`).
    `extra`: names and values of what a cell from outside takes.
    """

    gate_activation: GateActivation = "sigmoid"
    activation: Activation = "tanh"
    output_activation: Activation | None = None
    peepholes: bool = False
    coupled: bool = False
    reset: Reset = "after"
    gate_clip: float | None = None
    cell_clip: float | None = None
    extra: tuple[tuple[str, Extra], ...] = ()

    def __post_init__(self) -> None:
        choices = {
            "gate_activation": get_args(GateActivation),
            "activation": get_args(Activation),
            "output_activation": (None, *get_args(Activation)),
            "reset": get_args(Reset),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                told = ", ".join(str(choice) for choice in allowed if choice is not None)
                raise ValueError(f"{name}: expected one of {told}, got {getattr(self, name)!r}")
        for name in ("gate_clip", "cell_clip"):
            clip = getattr(self, name)
            if clip is not None and not 0 < clip < float("inf"):
                raise ValueError(f"{name}: expected a positive number, got {clip}")

    def changed(self) -> dict[str, Extra]:
        """What differs from the default, in the order of the fields; extras under their own names."""
        told = {
            option.name: getattr(self, option.name)
            for option in fields(self)
            if option.name != "extra" and getattr(self, option.name) != option.default
        }
        return told | dict(self.extra)


DEFAULT_OPTIONS: Final = CellOptions()
