"""The sections of config.json, each with what its keys mean and which of them fit together."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gatehouse_server.models.section import Section, Size

SentenceEnd = Literal["start_over", "keep_context"]
Token = Annotated[str, Field(min_length=1)]


class TokenInput(Section):
    """Token ids, embedded by `embedding.weight` (V, E)."""

    kind: Literal["tokens"]
    vocabulary_size: Size
    embedding_size: Size
    unknown_token: Token | None = None
    start_token: Token | None = None
    end_token: Token | None = None


class FeatureInput(Section):
    """Feature vectors of N float32 values."""

    kind: Literal["features"]
    size: Size
    names: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        if self.names and len(self.names) != self.size:
            raise ValueError(
                f"expected {self.size} names, one for each value of a step, got {len(self.names)}"
            )
        return self


class Head(Section):
    """The output layer: `head.weight` (O, R) and `head.bias` (O,), then what makes scores of it."""

    kind: Literal["softmax", "sigmoid", "linear"]
    size: Size
    tied: bool = False
    bias: bool = True


class Text(Section):
    """How a language model takes running text."""

    sentence_end: SentenceEnd = "start_over"


class Initial(Section):
    """How a vector of `size` values sets the state at position 0: `initial.weight` (S, size), `initial.bias` (S,)."""

    size: Size
    activation: Literal["tanh", "linear"] = "tanh"
