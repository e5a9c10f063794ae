"""The sections of config.json, each with what its keys mean and which of them fit together."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

SentenceEnd = Literal["start_over", "keep_context"]
Size = Annotated[int, Field(gt=0, le=2**31 - 1)]
Token = Annotated[str, Field(min_length=1)]


class Section(BaseModel):
    """What all sections share."""

    # Strict: "128" is not a size. Extra keys are refused, because a misspelt key would silently mean its
    # default.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


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


class Recurrent(Section):
    """The recurrent layers, as the arguments of `torch.nn.LSTM`, `GRU` or `RNN`."""

    cell: Literal["lstm", "gru", "rnn_tanh", "rnn_relu"]
    input_size: Size
    hidden_size: Size
    layers: Annotated[int, Field(ge=1, le=64)] = 1
    projection_size: Annotated[int, Field(ge=0)] = 0
    bias: bool = True
    bidirectional: bool = False
    merge: Literal["concat", "sum", "average", "multiply"] | None = None

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.projection_size and self.cell != "lstm":
            raise ValueError(f"projection_size is for lstm only, got cell {self.cell}")
        if self.projection_size >= self.hidden_size:
            raise ValueError(
                f"expected a projection_size below hidden_size {self.hidden_size}, got {self.projection_size}"
            )
        if self.merge is not None and not self.bidirectional:
            raise ValueError("merge is for bidirectional models only")
        return self

    @property
    def step_size(self) -> int:
        """Values per step and direction: P with a projection, else H."""
        return self.projection_size or self.hidden_size

    @property
    def output_size(self) -> int:
        """Values per step after the last layer, R: twice `step_size` where two directions are
        concatenated.
        """
        doubled = self.bidirectional and self.merge in (None, "concat")
        return self.step_size * (2 if doubled else 1)


class Head(Section):
    """The output layer: `head.weight` (O, R) and `head.bias` (O,), then what makes scores of it."""

    kind: Literal["softmax", "sigmoid", "linear"]
    size: Size
    tied: bool = False
    bias: bool = True


class Text(Section):
    """How a language model takes running text."""

    sentence_end: SentenceEnd = "start_over"
