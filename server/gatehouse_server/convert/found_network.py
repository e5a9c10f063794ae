"""A network that a source found, as sections of config.json and parameters by our names."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from gatehouse_server.convert.port import ConversionError, SourceOptions
from gatehouse_server.convert.recurrent_layers import FoundLayer, recurrent_section
from gatehouse_server.network.spec import HeadKind


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundHead:
    """weight (O, R), bias (O,) or None. `kind`: None for outputs that may be anything, logits or values."""

    kind: HeadKind | None
    weight: Tensor
    bias: Tensor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundNetwork:
    """embedding (V, E), or None for one that reads features. `pooling`: None hands on every step."""

    embedding: Tensor | None
    layers: Sequence[FoundLayer]
    pooling: str | None
    head: FoundHead | None

    @property
    def causal(self) -> bool:
        """Whether it reads forward alone."""
        return all(layer.direction == "forward" for layer in self.layers)

    def config(self) -> dict[str, object]:
        """Sections of config.json, with the task where it can be nothing else. Raises ConversionError."""
        recurrent, _ = recurrent_section(self.layers)
        config: dict[str, object] = {"recurrent": recurrent}
        if self.embedding is None:
            config["input"] = {"kind": "features", "size": recurrent["input_size"]}
        else:
            size, width = self.embedding.shape
            config["input"] = {"kind": "tokens", "vocabulary_size": size, "embedding_size": width}
        if self.pooling is not None:
            config["pooling"] = [self.pooling]
        if self.head is None:
            return config | {"task": "encoder"}
        size = self.head.weight.shape[0]
        kind = {} if self.head.kind is None else {"kind": self.head.kind}
        config["head"] = {**kind, "size": size, "bias": self.head.bias is not None}
        predicts_tokens = self.embedding is not None and self.embedding.shape[0] == size
        if predicts_tokens and self.head.kind in ("softmax", None) and self.pooling is None and self.causal:
            config["task"] = "language_model"
        return config

    def parameters(self) -> dict[str, Tensor]:
        """Exactly those that `config` asks for."""
        _, parameters = recurrent_section(self.layers)
        if self.embedding is not None:
            parameters["embedding.weight"] = self.embedding
        if self.head is not None:
            parameters["head.weight"] = self.head.weight
            if self.head.bias is not None:
                parameters["head.bias"] = self.head.bias
        return parameters


def pooling_wanted(network: FoundNetwork, options: SourceOptions) -> tuple[str | None, tuple[str, ...]]:
    """The pooling after `--pooling`, and a note. A network that hands on its last step may hand on every one instead.

    Raises ConversionError for any other change: the source tells its pooling itself.
    """
    own = () if network.pooling is None else (network.pooling,)
    if options.pooling is None or options.pooling == own:
        return network.pooling, ()
    if options.pooling == () and own == ("last",) and network.causal:
        return None, (
            "an output at each step, so that sessions can run; at the last step it is the source's",
        )
    raise ConversionError(
        f"--pooling {', '.join(options.pooling) or 'none'}: the source says {', '.join(own) or 'none'}",
        "leave it out",
    )


def refuse_unused(options: SourceOptions, why: str) -> None:
    """Raises ConversionError for options of which a source that tells its layers itself has no use."""
    for name in ("recurrent", "embedding", "head", "activation", "mapping"):
        if getattr(options, name) is not None:
            raise ConversionError(f"--{name} {getattr(options, name)}: {why}", "leave it out")
