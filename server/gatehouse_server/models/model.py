"""A model that has been loaded: what it computes with and what is known about it."""

from dataclasses import dataclass

from gatehouse_server.models.config import ModelConfig
from gatehouse_server.models.parameters import ParameterMatrix
from gatehouse_server.models.text import TextCodec
from gatehouse_server.network.network import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model ready to serve. Immutable but for the scratch memory of `network`, which one thread at a time
    may use.

    `fingerprint` is the SHA-256 of the content (see `fingerprint`); `memory_bytes` is what weights and tables
    hold. `text` is None for models that take feature vectors.
    """

    config: ModelConfig
    network: Network
    text: TextCodec | None
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
    def labels(self) -> tuple[str, ...]:
        """A classifier's labels by output index; empty for other tasks."""
        return self.config.labels

    @property
    def parameter_count(self) -> int:
        """The sum over all matrices; a tied head counts once."""
        return sum(matrix.count for matrix in self.parameters)

    @property
    def start_id(self) -> int | None:
        """The token consumed once to make the initial state (position 0); None where that state is zero."""
        return None if self.text is None else self.text.start_id

    @property
    def online(self) -> bool:
        """Whether sessions can run on it: one direction, and an output at each step."""
        return self.network.spec.recurrent.causal and not self.config.pooling

    def why_not_online(self) -> str | None:
        """One sentence that says why no session can run on it; None when one can."""
        if self.online:
            return None
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
            "send it whole documents with OfflineService.Classify."
        )
