"""From what a source gives, and the user says, to the files of a model folder."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from gatehouse_server.convert.port import ConversionError, ConvertedModel
from gatehouse_server.convert.request import NUMBERS, ConversionRequest
from gatehouse_server.convert.tokenizer import make_tokenizer
from gatehouse_server.convert.word_list import read_words
from gatehouse_server.models.config import ConfigError, ModelConfig, parse_config

_KINDS = {"language_model": "softmax", "classifier": "softmax", "regressor": "linear"}
_SEVERAL = "--task language_model, classifier or regressor"


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderContents:
    """The files of a folder by name, and lines about how they came about."""

    config: ModelConfig
    files: Mapping[str, bytes]
    notes: tuple[str, ...]


def complete(model: ConvertedModel, request: ConversionRequest) -> FolderContents:
    """All files but the card. Raises ConversionError where something does not fit, or is missing."""
    config: dict[str, Any] = {
        "format": 1,
        "name": request.name or _name_of(request.source),
        "version": request.version,
        "task": _task(model.config, request),
        "description": request.description,
        **{key: value for key, value in model.config.items() if key not in ("task", "labels")},
    }
    _complete_head(config, request)
    labels = _labels(config, model, request)
    if labels:
        config["labels"] = labels
    files, notes = dict(model.files), list(model.notes)
    if config["input"]["kind"] == "tokens":
        _complete_text(config, files, notes, request)
    else:
        if request.text.given():
            raise ConversionError(
                f"{', '.join(request.text.given())}: this model takes feature vectors", "leave them out"
            )
        if request.feature_names:
            config["input"] = config["input"] | {"names": list(request.feature_names)}
    content = (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode()
    try:
        checked = parse_config(content)
    except ConfigError as error:
        raise ConversionError(
            f"this is no network that can be served: {error}", "see docs/converting.md"
        ) from error
    files |= {"config.json": content, "model.safetensors": _weights(model.parameters)}
    return FolderContents(config=checked, files=files, notes=tuple(notes))


def _task(config: Mapping[str, Any], request: ConversionRequest) -> str:
    if request.options.as_encoder:
        return "encoder"
    told = request.task or config.get("task")
    if told is not None:
        return str(told)
    if config.get("head") is None:
        return "encoder"
    kind = request.head_kind or config["head"].get("kind")
    if kind == "linear":
        return "regressor"
    if kind is not None or request.labels is not None or config.get("labels"):
        return "classifier"
    raise ConversionError("the source does not tell what its outputs are", f"say it with {_SEVERAL}")


def _complete_head(config: dict[str, Any], request: ConversionRequest) -> None:
    if config.get("head") is None:
        if request.head_kind is not None:
            raise ConversionError(
                f"--scores {request.head_kind}: the model has no output layer", "leave it out"
            )
        return
    told = config["head"].get("kind")
    if told is not None and request.head_kind not in (None, told):
        raise ConversionError(f"--scores {request.head_kind}: the source says {told}", "leave it out")
    kind = request.head_kind or told or _KINDS.get(config["task"])
    config["head"] = {key: value for key, value in config["head"].items() if key != "kind"} | {"kind": kind}


def _labels(config: Mapping[str, Any], model: ConvertedModel, request: ConversionRequest) -> list[str]:
    if request.labels is None:
        brought = model.config.get("labels")
        if isinstance(brought, list | tuple) and brought:
            return [str(label) for label in brought]
        if config["task"] == "classifier" and config.get("head"):
            raise ConversionError(
                f"a classifier needs its {config['head'].get('size')} labels",
                f"name them with --labels FILE (a label a line), --labels A,B,C, or --labels {NUMBERS}",
            )
        return []
    if request.labels == NUMBERS and config.get("head"):
        return [str(number) for number in range(config["head"]["size"])]
    path = Path(request.labels)
    if path.is_file():
        return read_words(path, "--labels")
    if "," not in request.labels and (path.suffix or len(path.parts) > 1):
        raise ConversionError(
            f"--labels {request.labels}: there is no such file", "name one, or write them A,B,C"
        )
    return [label.strip() for label in request.labels.split(",")]


def _complete_text(
    config: dict[str, Any], files: dict[str, bytes], notes: list[str], request: ConversionRequest
) -> None:
    section = dict(config["input"])
    text = request.text
    if text.vocabulary is not None or "tokenizer.json" not in files:
        ready = make_tokenizer(text, section["vocabulary_size"])
        files["tokenizer.json"] = ready.content
        notes += ready.notes
        unknown = ready.unknown_token
    else:
        if text.lowercase:
            raise ConversionError(
                "--lowercase: the source brings its own tokenizer", "leave it out, or name a --vocab"
            )
        unknown = text.unknown_token
    given = {"unknown_token": unknown, "start_token": text.start_token, "end_token": text.end_token}
    config["input"] = section | {key: token for key, token in given.items() if token is not None}
    if config["task"] == "language_model":
        config["text"] = {"sentence_end": "keep_context" if text.keep_context else "start_over"}
        if text.start_token is None:
            notes.append("no start token: a session begins in the zero state")


def _weights(parameters: Mapping[str, Tensor]) -> bytes:
    # Clones, because safetensors refuses tensors that share memory.
    return save({name: tensor.clone().contiguous() for name, tensor in parameters.items()})


def _name_of(source: Path) -> str:
    name = re.sub(r"[^a-z0-9._-]+", "-", source.absolute().name.lower().partition(".")[0]).strip("._-")[:64]
    if not name:
        raise ConversionError(f"{source}: gives no name for a model", "name it with --name")
    return name
