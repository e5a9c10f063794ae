"""What was seen inside of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gatehouse.activations import LayerActivations


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """A model, the tokens that it read, and what its layers did with each of them."""

    model: str
    tokens: tuple[str, ...]
    layers: tuple[LayerActivations, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON: of each quantity a row for each token."""
        return {
            "model": self.model,
            "tokens": list(self.tokens),
            "layers": [
                {
                    "layer": layer.layer,
                    "direction": "reverse" if layer.reverse else "forward",
                    "activations": {each.name: each.values.tolist() for each in layer.activations},
                }
                for layer in self.layers
            ],
        }
