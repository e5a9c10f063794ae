"""The schema of a model's config.json: what each key means, and which of them fit together."""

import json
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from gatehouse_server.models.decoder_section import Decoder
from gatehouse_server.models.recurrent_section import Recurrent
from gatehouse_server.models.section import Section
from gatehouse_server.models.sections import (
    FeatureInput,
    Head,
    Initial,
    SentenceEnd,
    Text,
    TokenInput,
)
from gatehouse_server.network.spec import (
    FeatureInputSpec,
    HeadSpec,
    InitialSpec,
    NetworkSpec,
    TokenInputSpec,
)

Task = Literal["language_model", "classifier", "regressor", "encoder", "transducer"]
Pooling = Literal["last", "mean", "max"]

SHOWN_PROBLEMS = 3
"""How many problems one line tells; the rest is counted."""


class ConfigError(ValueError):
    """config.json is not JSON, or not of this schema. `str` is one line."""


class ModelConfig(Section):
    """The whole of config.json. Dimensions are checked against each other here, against the weights in
    `folder`.
    """

    format: Literal[1]
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    task: Task
    description: str = ""
    input: Annotated[TokenInput | FeatureInput, Field(discriminator="kind")]
    recurrent: Recurrent
    pooling: tuple[Pooling, ...] = ()
    head: Head | None = None
    labels: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    text: Text | None = None
    initial: Initial | None = None
    decoder: Decoder | None = None

    @field_validator("pooling", mode="before")
    @classmethod
    def _one_pooling_is_a_list_of_one(cls, value: object) -> object:
        if isinstance(value, str):
            return (value,)
        # A validator that runs before the schema sees JSON's list, which strict mode takes for no tuple.
        return tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        _check_input(self)
        _check_task(self)
        _check_head(self)
        _check_decoder(self)
        self.network_spec()
        return self

    @property
    def key(self) -> str:
        """The model's name and version as one word: `keyboard@1`."""
        return f"{self.name}@{self.version}"

    @property
    def sentence_end(self) -> SentenceEnd:
        """What a sentence end does to the tape of a language model."""
        return (self.text or Text()).sentence_end

    def network_spec(self) -> NetworkSpec:
        """The same dimensions as the network layer takes them; of a transducer, those of the encoder."""
        return NetworkSpec(
            input=TokenInputSpec(
                vocabulary_size=self.input.vocabulary_size, embedding_size=self.input.embedding_size
            )
            if isinstance(self.input, TokenInput)
            else FeatureInputSpec(size=self.input.size),
            recurrent=self.recurrent.spec(),
            pooling=self.pooling,
            head=None
            if self.head is None
            else HeadSpec(kind=self.head.kind, size=self.head.size, tied=self.head.tied, bias=self.head.bias),
            initial=None
            if self.initial is None
            else InitialSpec(size=self.initial.size, activation=self.initial.activation),
        )


def parse_config(content: bytes) -> ModelConfig:
    """Read config.json. Raises `ConfigError`, whose one line names each offending key."""
    try:
        json.loads(content)
    except ValueError as error:  # a number of thousands of digits, too
        raise ConfigError(f"is not valid JSON ({error})") from error
    except RecursionError as error:
        raise ConfigError("is nested too deeply") from error
    try:
        return ModelConfig.model_validate_json(content)
    except ValidationError as error:
        raise ConfigError(_one_line(error)) from error
    except Exception as error:  # of a cell that is somebody's own, anything
        raise ConfigError(f"cannot be checked ({type(error).__name__}: {error})") from error


def _check_input(config: ModelConfig) -> None:
    provided = config.input.embedding_size if isinstance(config.input, TokenInput) else config.input.size
    source = "input.embedding_size" if isinstance(config.input, TokenInput) else "input.size"
    if config.recurrent.input_size != provided:
        raise ValueError(
            f"recurrent.input_size: expected {provided} as {source}, got {config.recurrent.input_size}"
        )
    if len(set(config.pooling)) != len(config.pooling):
        raise ValueError(f"pooling names one kind twice, got {list(config.pooling)}")


def _check_task(config: ModelConfig) -> None:
    task = config.task
    if task == "language_model":
        if not isinstance(config.input, TokenInput):
            raise ValueError("task language_model: expected input.kind tokens, got features")
        if not config.recurrent.spec().causal or config.pooling:
            raise ValueError(
                "task language_model: expected one direction and no pooling, it predicts every step"
            )
        if config.head is not None and config.head.size != config.input.vocabulary_size:
            raise ValueError(
                f"head.size: expected {config.input.vocabulary_size} as input.vocabulary_size, "
                f"got {config.head.size}"
            )
    else:
        if config.text is not None:
            raise ValueError(f"text is for language models only, got task {task}")
        if isinstance(config.input, TokenInput) and (config.input.start_token or config.input.end_token):
            raise ValueError(f"start_token and end_token are for language models only, got task {task}")
    if task == "classifier" and config.head is not None and len(config.labels) != config.head.size:
        raise ValueError(f"labels: expected {config.head.size} as head.size, got {len(config.labels)}")
    if task != "classifier" and config.labels:
        raise ValueError(f"labels are for classifiers only, got task {task}")
    if len(set(config.labels)) != len(config.labels):
        raise ValueError("labels: expected each label once")


def _check_head(config: ModelConfig) -> None:
    kinds = {
        "language_model": ("softmax",),
        "classifier": ("softmax", "sigmoid"),
        "regressor": ("linear",),
        "encoder": (),
        "transducer": (),
    }[config.task]
    if config.head is None:
        if kinds:
            raise ValueError(
                f"head: expected one of kind {' or '.join(kinds)} for task {config.task}, got none"
            )
        return
    if config.head.kind not in kinds:
        wanted = " or ".join(kinds) if kinds else "no head"
        raise ValueError(f"head.kind: expected {wanted} for task {config.task}, got {config.head.kind}")
    if config.head.tied:
        if not isinstance(config.input, TokenInput) or config.pooling:
            raise ValueError("head.tied: expected token input and no pooling, it shares embedding.weight")
        if config.head.size != config.input.vocabulary_size:
            raise ValueError(
                f"head.size: expected {config.input.vocabulary_size} as input.vocabulary_size, "
                f"since the head is tied, got {config.head.size}"
            )
        if config.recurrent.spec().output_size != config.input.embedding_size:
            raise ValueError(
                f"head.tied: expected {config.recurrent.spec().output_size} values per step of the last layer as "
                f"input.embedding_size, got {config.input.embedding_size}"
            )


def _check_decoder(config: ModelConfig) -> None:
    if config.task != "transducer":
        if config.decoder is not None:
            raise ValueError(f"decoder is for transducers only, got task {config.task}")
        return
    if config.decoder is None:
        raise ValueError("decoder: expected one for task transducer, got none")
    if config.initial is not None:
        raise ValueError("initial: a transducer has it in decoder, where it reads what the encoder hands on")
    summary_size = config.network_spec().summary_size
    if config.decoder.initial.size != summary_size:
        raise ValueError(
            f"decoder.initial.size: expected {summary_size}, what the encoder hands on of a whole sequence, "
            f"got {config.decoder.initial.size}"
        )


def _one_line(error: ValidationError) -> str:
    problems = []
    for problem in error.errors(include_url=False, include_context=False):
        # Discriminated unions insert their tags after these keys; people know the keys without them.
        path = [str(part) for part in problem["loc"]]
        for key, tags in (("input", ("tokens", "features")), ("layers", ("number", "list"))):
            if key in path[:-1] and path[path.index(key) + 1] in tags:
                del path[path.index(key) + 1]
        message = problem["msg"].removeprefix("Value error, ")
        message = message[:1].lower() + message[1:]
        if problem["type"] == "extra_forbidden":
            message = "is not a known key"
        given = problem["input"]
        if problem["type"] not in ("value_error", "missing", "extra_forbidden"):
            message += f", got {json.dumps(given, default=str)[:60]}"
        problems.append(f"{'.'.join(path)}: {message}" if path else message)
    more = len(problems) - SHOWN_PROBLEMS
    return "; ".join(problems[:SHOWN_PROBLEMS]) + (f"; and {more} more" if more > 0 else "")
