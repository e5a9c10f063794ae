"""A model that has been loaded: what it computes with and what is known about it."""

from dataclasses import dataclass
from pathlib import Path

from gatehouse_server.models.config import ModelConfig
from gatehouse_server.models.output_text import OutputText
from gatehouse_server.models.parameters import ParameterMatrix
from gatehouse_server.models.parts import Part
from gatehouse_server.models.text import TextCodec
from gatehouse_server.network.network import Network
from gatehouse_server.network.transducer import Transducer


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadedModel:
    """A model ready to serve. Immutable but for the scratch memory of `network`, which one thread at a time
    may use.

    `path` is the folder that it was loaded from. `fingerprint` is the SHA-256 of the content (see `fingerprint`);
    `memory_bytes` is what weights and tables hold. `text` is None for models that take feature vectors. Of a
    transducer, `network` is the encoder, and `transducer` both; `output_text` tells what it writes.
    """

    path: Path
    config: ModelConfig
    network: Network
    text: TextCodec | None
    transducer: Transducer | None = None
    output_text: OutputText | None = None
    fingerprint: str
    parameters: tuple[ParameterMatrix, ...]
    memory_bytes: int
    card: str
    load_seconds: float

    @property
    def name(self) -> str:
        """The model's name: `keyboard`."""
        return self.config.name

    @property
    def version(self) -> str:
        """The model's version: `1`."""
        return self.config.version

    @property
    def key(self) -> str:
        """Name and version: `keyboard@1`."""
        return self.config.key

    @property
    def content_key(self) -> str:
        """Name, version and content: two models of one key, one of which replaced the other, are told apart by it."""
        return content_key(self.key, self.fingerprint)

    @property
    def labels(self) -> tuple[str, ...]:
        """A classifier's labels by output index; empty for other tasks."""
        return self.config.labels

    @property
    def parameter_count(self) -> int:
        """The sum over all matrices; a tied head counts once."""
        return sum(matrix.count for matrix in self.parameters)

    @property
    def networks(self) -> dict[Part, Network]:
        """Its networks by the part that they play: one, or a transducer's two."""
        if self.transducer is None:
            return {"": self.network}
        return {"encoder": self.transducer.encoder, "decoder": self.transducer.decoder}

    @property
    def start_id(self) -> int | None:
        """The token consumed once to make the initial state (position 0); None where that state is zero."""
        return None if self.text is None else self.text.start_id

    @property
    def online(self) -> bool:
        """Whether sessions can run on it: one direction, and an output at each step."""
        causal = self.network.spec.recurrent.causal and not self.config.pooling
        return causal and self.transducer is None

    def why_not_online(self) -> str | None:
        """One sentence that says why no session can run on it; None when one can."""
        if self.online:
            return None
        if self.transducer is not None:
            return (
                f"{self.key} cannot run online, because it writes when it has read all of a sequence; "
                "send it whole documents (Transduce)."
            )
        causes = []
        directions = {layer.direction for layer in self.network.spec.recurrent.layers}
        if "both" in directions:
            causes.append("it is bidirectional: its reverse direction begins at the end of a sequence")
        elif "reverse" in directions:
            causes.append("it reads sequences from their end")
        if self.config.pooling:
            causes.append(f"its output pools whole sequences ({', '.join(self.config.pooling)})")
        return (
            f"{self.key} cannot run online, because {' and '.join(causes)}; "
            "send it whole documents (Classify)."
        )


def content_key(key: str, fingerprint: str) -> str:
    """What tells models of one name and version apart: `keyboard@1#<fingerprint>`."""
    return f"{key}#{fingerprint}"


def key_of_content(content_key: str) -> str:
    """Name and version in a key of content; a key without content is one already."""
    return content_key.partition("#")[0]
