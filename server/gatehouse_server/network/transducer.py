"""Two networks that make one sequence of another: an encoder that reads, a decoder that writes."""

from dataclasses import dataclass

from gatehouse_server.network.network import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Transducer:
    """The encoder's summary of a sequence sets the state in which the decoder begins; from then on the decoder is given
    its own last token, `start_id` before the first one, until it says `end_id`.

    `suppressed_ids` are tokens that it never says; `end_id` is none of them. Both networks are of one thread at a time.
    """

    encoder: Network
    decoder: Network
    start_id: int
    end_id: int
    suppressed_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        initial, head = self.decoder.spec.initial, self.decoder.head
        if initial is None or initial.size != self.encoder.spec.summary_size:
            raise ValueError(
                f"decoder initial: expected a layer that reads the encoder's {self.encoder.spec.summary_size} values, "
                f"got {'none' if initial is None else initial.size}"
            )
        if head is None or head.kind != "softmax":
            raise ValueError(f"decoder head: expected softmax, got {'none' if head is None else head.kind}")
        for name in ("start_id", "end_id"):
            if not 0 <= getattr(self, name) < head.size:
                raise ValueError(f"{name}: expected 0..{head.size - 1}, got {getattr(self, name)}")
        if self.end_id in self.suppressed_ids:
            raise ValueError("suppressed_ids: expected all but the token that ends a sequence")

    @property
    def reproducible(self) -> bool:
        """Whether no answer depends on what else is computed, to the bit."""
        return self.encoder.reproducible and self.decoder.reproducible
