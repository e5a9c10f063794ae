"""The modules of a torch state dict that are not recurrent, and what they seem to be."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from gatehouse_server.convert.tensors import is_dense, shape_of

EMBEDDING_NAME: Final = re.compile(r"emb|wte|lookup|word_?vec|lut|encoder|token", re.IGNORECASE)
HEAD_NAME: Final = re.compile(
    r"head|decoder|out|fc|linear|classif|pred|proj|logit|dense|generator|softmax|hidden2", re.IGNORECASE
)
_CONVOLUTION_AXES = (3, 4, 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One module around the recurrent ones: its name, and its tensors by their own names ("weight", "bias")."""

    name: str
    tensors: Mapping[str, Tensor]

    @property
    def weight(self) -> Tensor | None:
        """The weight of an embedding or a dense layer; None of anything else."""
        weight = self.tensors.get("weight")
        bias = self.tensors.get("bias")
        if (
            weight is None
            or weight.dim() != 2
            or not is_dense(weight)
            or not self.tensors.keys() <= {"weight", "bias"}
        ):
            return None
        return weight if bias is None or bias.shape == weight.shape[:1] else None

    @property
    def bias(self) -> Tensor | None:
        """The bias of a dense layer, if it has one."""
        return self.tensors.get("bias")

    def told(self) -> str:
        """What it seems to be, for people."""
        weight, names = self.tensors.get("weight"), set(self.tensors)
        if {"running_mean", "running_var"} <= names:
            kind = "a batch normalisation"
        elif any(name.startswith("in_proj_") for name in names) or re.search(r"attn|attention", self.name):
            kind = "attention"
        elif weight is not None and weight.dim() in _CONVOLUTION_AXES:
            kind = "a convolution"
        elif self.weight is not None:
            kind = (
                "a dense layer"
                if self.bias is not None or not EMBEDDING_NAME.search(self.name)
                else "an embedding"
            )
        elif weight is not None and weight.dim() == 1 and names <= {"weight", "bias"}:
            kind = "a layer normalisation"
        else:
            kind = "parameters"
        name, largest = max(self.tensors.items(), key=lambda item: item[1].numel())
        return f"{kind} `{self.name}` ({name} {shape_of(largest)})"

    @property
    def own_name(self) -> str:
        """The last word of the name that is no number: what the part itself is called."""
        words = [word for word in self.name.split(".") if not word.isdecimal()]
        return words[-1] if words else ""

    def has_name_of_embedding(self) -> bool:
        """Whether it is itself called like one."""
        return EMBEDDING_NAME.search(self.own_name) is not None

    def has_name_of_head(self) -> bool:
        """Whether it is itself called like one."""
        return HEAD_NAME.search(self.own_name) is not None

    def repeats(self, other: "Part") -> bool:
        """Whether both have the same numbers for a weight."""
        mine, others = self.weight, other.weight
        if mine is None or others is None or (mine.shape, mine.dtype) != (others.shape, others.dtype):
            return False
        return mine is others or torch.equal(mine, others)


def parts_around(state: Mapping[str, Tensor], used: Collection[str]) -> tuple[Part, ...]:
    """The modules that are not recurrent, in the order of the state dict."""
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        if name not in used:
            module, _, own = name.rpartition(".")
            groups.setdefault(module, {})[own] = tensor
    return tuple(Part(name=name or "(top)", tensors=tensors) for name, tensors in groups.items())
