"""Tensors from elsewhere as the float32 ones of a model folder, and a line about what was changed."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from gatehouse_server.convert.archives import LARGEST_BYTES
from gatehouse_server.convert.port import ConversionError

_FLOAT_BYTES = 4
_NAMED = 6


def as_float32(name: str, tensor: Tensor) -> Tensor:
    """A contiguous float32 copy or the same. Raises ConversionError for numbers that are no weights."""
    if not tensor.is_floating_point():
        kind = str(tensor.dtype).removeprefix("torch.")
        raise ConversionError(
            f"{name}: expected floating-point numbers, got {kind}",
            "save the weights before they are quantized",
        )
    check_dimensions(name, tensor)
    return tensor.detach().to("cpu", torch.float32).contiguous()


def is_dense(tensor: Tensor) -> bool:
    """Whether it is a plain matrix of numbers."""
    return tensor.layout == torch.strided and not tensor.is_quantized and tensor.device.type == "cpu"


def check_dimensions(name: str, tensor: Tensor) -> None:
    """Raises ConversionError for a tensor that claims to be larger than what was stored of it, or than any model is."""
    if not is_dense(tensor):
        raise ConversionError(
            f"{name}: expected a dense tensor with its numbers, got {tensor.layout} on {tensor.device.type}",
            "save it after .to_dense(), not on the meta device",
        )
    numbers = tensor.numel()
    if numbers == 0:
        raise ConversionError(
            f"{name} is empty, of shape {shape_of(tensor)}", "save the weights that were trained"
        )
    stored = tensor.untyped_storage().nbytes() // tensor.element_size()
    if numbers > stored or numbers * _FLOAT_BYTES > LARGEST_BYTES:
        raise ConversionError(
            f"{name}: {shape_of(tensor)} are {numbers:,} numbers, of which {stored:,} are stored",
            "save the weights again, each .contiguous()",
        )


def notes_on_types(tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    """A line for each type but float32 among the tensors that were used."""
    kinds: dict[torch.dtype, int] = {}
    for tensor in tensors.values():
        kinds[tensor.dtype] = kinds.get(tensor.dtype, 0) + 1
    return tuple(
        f"{count} of {len(tensors)} tensors were {str(kind).removeprefix('torch.')}, and are float32 now"
        for kind, count in sorted(kinds.items(), key=lambda item: str(item[0]))
        if kind != torch.float32
    )


def shape_of(tensor: Tensor) -> str:
    """(3, 4)"""
    return "(" + ", ".join(map(str, tensor.shape)) + ")"


def listed(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    every = list(names)
    more = len(every) - _NAMED
    return ", ".join(every[:_NAMED]) + (f" and {more} more" if more > 0 else "")
