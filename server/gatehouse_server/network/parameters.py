"""Checking a set of parameters against the shapes that a specification asks for."""

from collections.abc import Mapping

from torch import Tensor


def check_parameters(parameters: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ValueError, in the words "expected ... got ...", unless names, shapes and values are in order."""
    missing = sorted(shapes.keys() - parameters.keys())
    surplus = sorted(parameters.keys() - shapes.keys())
    if missing:
        raise ValueError(f"parameters: expected {', '.join(missing)}, got none of that name")
    if surplus:
        raise ValueError(
            f"parameters: expected only {', '.join(sorted(shapes))}, got also {', '.join(surplus)}"
        )
    for name, shape in shapes.items():
        tensor = parameters[name]
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name}: expected shape {shape}, got {tuple(tensor.shape)}")
        if not tensor.is_floating_point():
            raise ValueError(f"{name}: expected floating-point numbers, got {tensor.dtype}")
        if not bool(tensor.isfinite().all()):
            raise ValueError(f"{name}: expected finite numbers, got some that are not")
