"""The section `decoder` of config.json: the network that writes what a transducer's encoder has read."""

from typing import Self

from pydantic import model_validator

from gatehouse_server.models.recurrent_section import Recurrent
from gatehouse_server.models.section import Section
from gatehouse_server.models.sections import Head, Initial, Token, TokenInput
from gatehouse_server.network.spec import HeadSpec, InitialSpec, NetworkSpec, TokenInputSpec


class DecoderInput(TokenInput):
    """The vocabulary of what is written. `start_token` is given before the first token, `end_token` ends an output."""

    start_token: Token
    end_token: Token


class Decoder(Section):
    """Layers of one direction that begin in the state which `initial` makes of the encoder's summary."""

    input: DecoderInput
    initial: Initial
    recurrent: Recurrent
    head: Head

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        source, head = self.input, self.head
        recurrent = self.recurrent.spec()
        if not recurrent.causal:
            raise ValueError("recurrent: expected one direction, forward, since it writes token by token")
        if self.recurrent.input_size != source.embedding_size:
            raise ValueError(
                f"recurrent.input_size: expected {source.embedding_size} as input.embedding_size, "
                f"got {self.recurrent.input_size}"
            )
        if head.kind != "softmax":
            raise ValueError(f"head.kind: expected softmax, got {head.kind}")
        if head.size != source.vocabulary_size:
            raise ValueError(
                f"head.size: expected {source.vocabulary_size} as input.vocabulary_size, got {head.size}"
            )
        if head.tied and recurrent.output_size != source.embedding_size:
            raise ValueError(
                f"head.tied: expected {recurrent.output_size} values per step of the last layer as "
                f"input.embedding_size, got {source.embedding_size}"
            )
        return self

    def spec(self) -> NetworkSpec:
        """The same dimensions as the network layer takes them."""
        return NetworkSpec(
            input=TokenInputSpec(
                vocabulary_size=self.input.vocabulary_size, embedding_size=self.input.embedding_size
            ),
            recurrent=self.recurrent.spec(),
            head=HeadSpec(kind=self.head.kind, size=self.head.size, tied=self.head.tied, bias=self.head.bias),
            initial=InitialSpec(size=self.initial.size, activation=self.initial.activation),
        )
