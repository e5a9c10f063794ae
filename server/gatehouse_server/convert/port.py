"""What a source of models gives to the converter, and what it is told: neutral between formats.

A source reads files of one format (`Source`) and describes the network in the words of config.json and of
docs/model-format.md (`ConvertedModel`). Everything else is done once for all: task and labels, tokenizer, folder,
loading it, comparison with the source's own reference.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from torch import Tensor

Form = Literal["outputs", "logits", "scores", "log_scores"]
"""What a reference answers: what the recurrent layers hand on (pooled, if the model pools), what the head makes of
that before its activation, after it (softmax or sigmoid; of a linear head the same as `logits`), and its natural
logarithm.
"""

_NAMED = 12


class ConversionError(ValueError):
    """The conversion can't be done. `str` is one line: `problem`, then what to do (`remedy`)."""

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem = one_line(problem)
        self.remedy = one_line(remedy)
        super().__init__(f"{self.problem}; {self.remedy}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """What the user said about the source. A source that has no use for one that is given raises ConversionError.

    `as_encoder`: give the recurrent part (and the embedding it reads) alone, and name everything else in `left_out`.
    `recurrent`: name or prefix of the recurrent module, of several. `embedding`, `head`: names of those layers; "none":
    there is none. `activation`: of a simple recurrent cell, where the source does not tell. `pooling`: how steps become
    one vector before the head, where the source does not tell. `mapping`: file that says where each parameter is.
    """

    as_encoder: bool = False
    recurrent: str | None = None
    embedding: str | None = None
    head: str | None = None
    activation: Literal["tanh", "relu"] | None = None
    pooling: tuple[str, ...] | None = None
    mapping: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The source's own computation, independent of ours.

    `run` takes whole sequences of equal length, token ids (B, T) int64 or features (B, T, N) float32, and answers
    float32 values of `form`: (B, T, O), or (B, O) if the model pools. It is called with `batch_size` sequences of
    `steps` steps, which a source sets where it can't take any other number.
    """

    name: str
    """What computes it, for people: "torch 2.13.0"."""
    run: Callable[[Tensor], Tensor]
    form: Form
    batch_size: int = 3
    steps: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertedModel:
    """A network as a model folder describes it.

    `config` has the sections of config.json that the source knows: `input` and `recurrent` always, `pooling`, `head`,
    `initial`, `labels`, `task` where they apply; values as JSON has them. `head` may lack `kind` where the source does
    not tell it. Never `format`, `name`, `version`, `description`. `parameters` are float32, by the names of
    docs/model-format.md, exactly those that `config` asks for.
    """

    config: Mapping[str, object]
    parameters: Mapping[str, Tensor]
    notes: tuple[str, ...] = ()
    """One line each: what was found, renamed, converted, assumed."""
    left_out: tuple[str, ...] = ()
    """What lies around the recurrent part and is not served: one line each. Only with `as_encoder`."""
    reference: Reference | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Further files of the folder that the source brings, such as tokenizer.json; options of the user replace them."""


class Source(Protocol):
    """One format of files."""

    @property
    def name(self) -> str:
        """For people: "torch"."""

    def detect(self, path: Path) -> bool:
        """Whether `path`, a file or a folder, is of this format, told by its first bytes or its name. Raises nothing
        but OSError.
        """

    def read(self, path: Path, options: SourceOptions) -> ConvertedModel:
        """Read it without running any code that it holds. Raises ConversionError for everything else than success."""


def one_line(text: str) -> str:
    """The text in one line, without characters that would do something to a terminal: names in files are anyone's."""
    return "".join(character for character in " ".join(text.split()) if character.isprintable())


def not_servable(parts: tuple[str, ...]) -> ConversionError:
    """The refusal of a model with `parts` around its recurrent layers that nothing here computes."""
    more = len(parts) - _NAMED
    told = ", ".join(parts[:_NAMED]) + (f" and {more} more" if more > 0 else "")
    return ConversionError(
        f"cannot serve {told}", "--as encoder serves the recurrent part alone, without them"
    )
