"""Activation functions by name, in place."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import torch
from torch import Tensor


def activate(name: str, values: Tensor) -> Tensor:
    """Applies the function that `cell_options` names to `values`, in place, and returns them."""
    return _IN_PLACE[name](values)


def _softsign(values: Tensor) -> Tensor:
    return values.div_(values.abs().add_(1.0))


def _hard_sigmoid(values: Tensor) -> Tensor:
    return values.div_(6.0).add_(0.5).clamp_(0.0, 1.0)


def _hard_sigmoid_fifth(values: Tensor) -> Tensor:
    return values.mul_(0.2).add_(0.5).clamp_(0.0, 1.0)


def _relu(values: Tensor) -> Tensor:
    return values.clamp_(min=0.0)


_IN_PLACE: Final[Mapping[str, Callable[[Tensor], Tensor]]] = MappingProxyType(
    {
        "sigmoid": torch.sigmoid_,
        "hard_sigmoid": _hard_sigmoid,
        "hard_sigmoid_fifth": _hard_sigmoid_fifth,
        "tanh": torch.tanh_,
        "relu": _relu,
        "softsign": _softsign,
    }
)
