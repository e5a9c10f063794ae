"""What the user asks of a conversion."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gatehouse_server.convert.port import Form, SourceOptions

Split = Literal["words", "whitespace", "characters"]
Task = Literal["language_model", "classifier", "regressor", "encoder"]
NUMBERS = "numbers"
"""Instead of a file of tokens or labels: they are called by their numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRequest:
    """How text becomes tokens. `vocabulary`: tokenizer.json, a JSON object of ids, or a token a line; "numbers"."""

    vocabulary: str | None = None
    unknown_token: str | None = None
    start_token: str | None = None
    end_token: str | None = None
    lowercase: bool = False
    split: Split = "words"
    keep_context: bool = False

    def given(self) -> list[str]:
        """The options that were used, for a model that has no use for them."""
        pairs = {
            "--vocab": self.vocabulary,
            "--unknown-token": self.unknown_token,
            "--start-token": self.start_token,
            "--end-token": self.end_token,
            "--lowercase": self.lowercase,
            "--keep-context": self.keep_context,
        }
        return [option for option, value in pairs.items() if value]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRequest:
    """How the result is compared with its source. `inputs`, `outputs`: files of vectors."""

    tolerance: float = 1e-5
    inputs: Path | None = None
    outputs: Path | None = None
    form: Form = "scores"
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionRequest:
    """The folder becomes `destination/name/version`. Without a name it is made of the source's."""

    source: Path
    destination: Path
    name: str | None = None
    version: str = "1"
    task: Task | None = None
    description: str = ""
    labels: str | None = None
    head_kind: Literal["softmax", "sigmoid", "linear"] | None = None
    feature_names: Sequence[str] = ()
    force: bool = False
    options: SourceOptions = field(default_factory=SourceOptions)
    text: TextRequest = field(default_factory=TextRequest)
    check: CheckRequest = field(default_factory=CheckRequest)
