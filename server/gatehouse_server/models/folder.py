"""Loading a model folder: every file checked, every dimension compared, every defect told in one line."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import structlog
from tokenizers import Tokenizer

from gatehouse_server.errors import ModelFolderError
from gatehouse_server.models.config import ConfigError, ModelConfig, parse_config
from gatehouse_server.models.fingerprint import FINGERPRINTED, fingerprint
from gatehouse_server.models.model import LoadedModel
from gatehouse_server.models.parameters import parameter_table
from gatehouse_server.models.sections import TokenInput
from gatehouse_server.models.text import TextCodec
from gatehouse_server.models.weights import WeightsError, match_weights, read_weights
from gatehouse_server.network.arithmetic import FLOAT32, Arithmetic
from gatehouse_server.network.network import DEFAULT_FOLD_LIMIT_BYTES, Network
from gatehouse_server.network.recording import NotRecordableError
from gatehouse_server.network.spec import parameter_shapes

__all__ = ["DEFAULT_FOLD_LIMIT_BYTES", "ModelFolderError", "load_folder"]

_log = structlog.get_logger(__name__)

_PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl")


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
    contents = _read_files(path)
    config = _config(path, contents)
    text = _text(path, config, contents)
    shapes = {name: tuple(shape) for name, shape in parameter_shapes(config.network_spec()).items()}
    weights_path = path / "model.safetensors"
    try:
        parameters = match_weights(read_weights(contents["model.safetensors"]), shapes)
    except WeightsError as error:
        raise ModelFolderError(weights_path, str(error), error.remedy) from error
    try:
        network = Network.build(
            config.network_spec(),
            parameters,
            device=device,
            fold_limit_bytes=fold_limit_bytes,
            arithmetic=arithmetic,
        )
    except (ValueError, RuntimeError) as error:
        raise ModelFolderError(
            path,
            f"the network could not be built on {device} ({error})",
            "correct config.json, or choose a device with room for it",
        ) from error
    try:
        network.record()
    except NotRecordableError as failure:
        _log.warning("steps run operator by operator, which is slower", path=str(path), problem=str(failure))
    card = path / "card.md"
    return LoadedModel(
        config=config,
        network=network,
        text=text,
        fingerprint=fingerprint(contents),
        parameters=parameter_table(config, shapes),
        memory_bytes=network.parameter_bytes + network.folded_bytes,
        card=card.read_text(encoding="utf-8", errors="replace") if card.is_file() else "",
        load_seconds=clock() - started,
    )


def _read_files(path: Path) -> dict[str, bytes]:
    if not path.is_dir():
        raise ModelFolderError(
            path, "is not a folder", "make it <name>/<version> with config.json and weights in it"
        )
    contents = {}
    for name in FINGERPRINTED:
        try:
            contents[name] = (path / name).read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ModelFolderError(
                path / name, f"cannot be read ({error.strerror})", "make it a readable file"
            ) from error
    if "config.json" not in contents:
        raise ModelFolderError(path, "config.json is missing", "write it as docs/model-format.md describes")
    if "model.safetensors" not in contents:
        pickles = sorted(file.name for file in path.iterdir() if file.suffix in _PICKLES)
        found = f" (found {pickles[0]}, which is never opened)" if pickles else ""
        raise ModelFolderError(
            path,
            f"model.safetensors is missing{found}",
            "save the weights with safetensors.torch.save_file(module.state_dict(), path)",
        )
    return contents


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
    tokenizer_path = path / "tokenizer.json"
    if "tokenizer.json" not in contents:
        raise ModelFolderError(
            path, "tokenizer.json is missing", "save the tokenizer with tokenizers.Tokenizer.save(path)"
        )
    try:
        tokenizer = Tokenizer.from_buffer(contents["tokenizer.json"])
    except Exception as error:  # the library raises nothing more precise
        raise ModelFolderError(
            tokenizer_path, f"cannot be read ({error})", "save it again with tokenizers.Tokenizer.save(path)"
        ) from error
    _check_vocabulary(tokenizer_path, tokenizer, config.input)
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


def _check_vocabulary(path: Path, tokenizer: Tokenizer, expected: TokenInput) -> None:
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    if len(vocabulary) != expected.vocabulary_size:
        raise ModelFolderError(
            path,
            f"expected {expected.vocabulary_size} tokens as input.vocabulary_size, got {len(vocabulary)}",
            "use the tokenizer that the model was trained with, or correct config.json",
        )
    if max(vocabulary.values()) != len(vocabulary) - 1:
        raise ModelFolderError(
            path,
            f"expected ids from 0 to {len(vocabulary) - 1} without a gap, got {max(vocabulary.values())}",
            "number the tokens without gaps",
        )
    # A word-level tokenizer without its unknown token fails at the first unknown word, in the middle of
    # serving.
    unknown = getattr(tokenizer.model, "unk_token", None)
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
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ModelFolderError(path / "display.json", f"is not valid JSON ({error})", remedy) from error
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
