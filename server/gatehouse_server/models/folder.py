"""Loading a model folder: every file checked, every dimension compared, every defect told in one line."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog
from tokenizers import Tokenizer

from gatehouse_server.errors import ModelFolderError
from gatehouse_server.models.config import ConfigError, ModelConfig, parse_config
from gatehouse_server.models.files import read_files
from gatehouse_server.models.fingerprint import fingerprint
from gatehouse_server.models.model import LoadedModel
from gatehouse_server.models.output_text import OutputText
from gatehouse_server.models.parts import Part, expected_shapes, joint_table, network_specs, parameters_of
from gatehouse_server.models.sections import TokenInput
from gatehouse_server.models.text import TextCodec
from gatehouse_server.models.weights import WeightsError, match_weights, read_weights
from gatehouse_server.network.arithmetic import FLOAT32, Arithmetic
from gatehouse_server.network.network import DEFAULT_FOLD_LIMIT_BYTES, Network
from gatehouse_server.network.recording import NotRecordableError
from gatehouse_server.network.spec import NetworkSpec
from gatehouse_server.network.transducer import Transducer

__all__ = ["DEFAULT_FOLD_LIMIT_BYTES", "ModelFolderError", "load_folder"]

_log = structlog.get_logger(__name__)


def load_folder(
    path: Path,
    device: str = "cpu",
    fold_limit_bytes: int = DEFAULT_FOLD_LIMIT_BYTES,
    *,
    arithmetic: Arithmetic = FLOAT32,
    clock: Callable[[], float] = time.perf_counter,
) -> LoadedModel:
    """Load the model in `path`, a folder `<name>/<version>`.

    Everything is read once, so that the fingerprint is that of what was loaded. Raises `ModelFolderError` on
    any defect: something missing, unreadable, inconsistent, truncated, or of another kind than it should be.
    """
    started = clock()
    contents = read_files(path)
    config = _config(path, contents)
    text = _text(path, config, contents)
    output = _output_text(path, config, contents)
    specs = network_specs(config)
    try:
        parameters = match_weights(read_weights(contents["model.safetensors"]), expected_shapes(specs))
    except WeightsError as error:
        raise ModelFolderError(path / "model.safetensors", str(error), error.remedy) from error

    def build(part: Part, spec: NetworkSpec) -> Network:
        own = parameters_of(part, parameters)
        return Network.build(
            spec, own, device=device, fold_limit_bytes=fold_limit_bytes, arithmetic=arithmetic
        )

    try:
        networks = {part: build(part, spec) for part, spec in specs.items()}
    except Exception as error:  # of a cell that is somebody's own, anything
        raise ModelFolderError(
            path,
            f"the network could not be built on {device} ({type(error).__name__}: {error})",
            "correct config.json, or choose a device with room for it",
        ) from error
    for network in networks.values():
        _record(path, network)
    return LoadedModel(
        config=config,
        network=next(iter(networks.values())),
        text=text,
        transducer=None if output is None else _transducer(networks, output),
        output_text=output,
        fingerprint=fingerprint(contents),
        parameters=joint_table(specs),
        memory_bytes=sum(network.parameter_bytes + network.folded_bytes for network in networks.values()),
        card=_card(path / "card.md"),
        load_seconds=clock() - started,
    )


def _record(path: Path, network: Network) -> None:
    try:
        network.record()
    except NotRecordableError as failure:
        _log.warning("steps run operator by operator, which is slower", path=str(path), problem=str(failure))


def _card(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    except OSError as error:
        raise ModelFolderError(
            file, f"cannot be read ({error.strerror})", "make it readable for the server's user"
        ) from error


def _transducer(networks: Mapping[Part, Network], output: OutputText) -> Transducer:
    return Transducer(
        encoder=networks["encoder"],
        decoder=networks["decoder"],
        start_id=output.start_id,
        end_id=output.end_id,
        suppressed_ids=output.suppressed_ids,
    )


def _config(path: Path, contents: dict[str, bytes]) -> ModelConfig:
    try:
        config = parse_config(contents["config.json"])
    except ConfigError as error:
        raise ModelFolderError(
            path / "config.json", str(error), "correct it as docs/model-format.md describes"
        ) from error
    # absolute, not resolved: a link named after a version is that version.
    folder = path.absolute()
    for role, expected, got in (
        ("name", folder.parent.name, config.name),
        ("version", folder.name, config.version),
    ):
        if expected != got:
            raise ModelFolderError(
                path / "config.json",
                f"{role}: expected {expected!r} as the folder is named, got {got!r}",
                "rename the folder or correct config.json",
            )
    return config


def _text(path: Path, config: ModelConfig, contents: dict[str, bytes]) -> TextCodec | None:
    if not isinstance(config.input, TokenInput):
        extra = sorted(contents.keys() & {"tokenizer.json", "display.json", "blocked.txt"})
        if extra:
            raise ModelFolderError(
                path / extra[0],
                "has no meaning for a model that takes features",
                "remove it or correct input.kind",
            )
        return None
    tokenizer = _tokenizer(path, "tokenizer.json", contents)
    _check_vocabulary(
        path / "tokenizer.json", tokenizer, config.input.vocabulary_size, "input.vocabulary_size"
    )
    _check_unknown_token(path / "tokenizer.json", tokenizer)
    try:
        return TextCodec(
            tokenizer,
            unknown_token=config.input.unknown_token,
            start_token=config.input.start_token,
            end_token=config.input.end_token,
            display=_display(path, contents),
            blocked=_blocked(path, contents),
        )
    except ValueError as error:
        raise ModelFolderError(
            path / "config.json", f"input.{error}", "name a token that tokenizer.json has"
        ) from error


def _output_text(path: Path, config: ModelConfig, contents: dict[str, bytes]) -> OutputText | None:
    name = "output_tokenizer.json"
    if config.decoder is None:
        if name in contents:
            raise ModelFolderError(
                path / name,
                f"has no meaning for a model of task {config.task}",
                "remove it or correct config.json",
            )
        return None
    tokenizer, written = _tokenizer(path, name, contents), config.decoder.input
    _check_vocabulary(path / name, tokenizer, written.vocabulary_size, "decoder.input.vocabulary_size")
    try:
        return OutputText(
            tokenizer,
            start_token=written.start_token,
            end_token=written.end_token,
            unknown_token=written.unknown_token,
        )
    except ValueError as error:
        raise ModelFolderError(
            path / "config.json", f"decoder.input.{error}", f"name a token that {name} has"
        ) from error


def _tokenizer(path: Path, name: str, contents: dict[str, bytes]) -> Tokenizer:
    if name not in contents:
        raise ModelFolderError(
            path, f"{name} is missing", "save the tokenizer with tokenizers.Tokenizer.save(path)"
        )
    try:
        return Tokenizer.from_buffer(contents[name])
    except Exception as error:  # the library raises nothing more precise
        raise ModelFolderError(
            path / name, f"cannot be read ({error})", "save it again with tokenizers.Tokenizer.save(path)"
        ) from error


def _check_vocabulary(path: Path, tokenizer: Tokenizer, expected: int, key: str) -> None:
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    if len(vocabulary) != expected:
        raise ModelFolderError(
            path,
            f"expected {expected} tokens as {key}, got {len(vocabulary)}",
            "use the tokenizer that the model was trained with, or correct config.json",
        )
    if max(vocabulary.values()) != len(vocabulary) - 1:
        raise ModelFolderError(
            path,
            f"expected ids from 0 to {len(vocabulary) - 1} without a gap, got {max(vocabulary.values())}",
            "number the tokens without gaps",
        )


def _check_unknown_token(path: Path, tokenizer: Tokenizer) -> None:
    # A word-level tokenizer without its unknown token fails at the first unknown word, in the middle of
    # serving.
    unknown = getattr(tokenizer.model, "unk_token", None)
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    if unknown is not None and unknown not in vocabulary and type(tokenizer.model).__name__ == "WordLevel":
        raise ModelFolderError(
            path,
            f"its unknown token {unknown!r} is not in its vocabulary",
            "add the token or name another one",
        )


def _display(path: Path, contents: dict[str, bytes]) -> dict[str, str]:
    content = contents.get("display.json")
    if content is None:
        return {}
    remedy = 'write it as {"lower-case word": "Display Form"}'
    try:
        display = json.loads(content)
    except ValueError as error:
        raise ModelFolderError(path / "display.json", f"is not valid JSON ({error})", remedy) from error
    except RecursionError as error:
        raise ModelFolderError(path / "display.json", "is nested too deeply", remedy) from error
    if not isinstance(display, dict):
        raise ModelFolderError(
            path / "display.json", f"expected an object, got {type(display).__name__}", remedy
        )
    for word, form in display.items():
        if not isinstance(form, str) or not form.strip():
            raise ModelFolderError(
                path / "display.json", f"{word}: expected a display form, got {json.dumps(form)}", remedy
            )
    return display


def _blocked(path: Path, contents: dict[str, bytes]) -> list[str]:
    try:
        lines = contents.get("blocked.txt", b"").decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ModelFolderError(path / "blocked.txt", f"is not UTF-8 ({error})", "save it as UTF-8") from error
    return [line.strip() for line in lines if line.strip()]
