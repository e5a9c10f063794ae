"""The files of a model folder that concern text: its tokenizers, display forms and blocked words."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tokenizers import Tokenizer

from gatehouse_server.errors import ModelFolderError
from gatehouse_server.models.config import ModelConfig
from gatehouse_server.models.output_text import OutputText
from gatehouse_server.models.sections import TokenInput
from gatehouse_server.models.text import TextCodec
from gatehouse_server.panics import as_defect

_UNKNOWN = "\U00012000 \U00013000 \ua000 \u07ca"
"""Letters that few vocabularies have: a cuneiform one, a hieroglyph, one of Yi and one of N'Ko."""


def text_codec(path: Path, config: ModelConfig, contents: dict[str, bytes]) -> TextCodec | None:
    """What the model makes of text; None for one that takes features. Raises ModelFolderError."""
    if not isinstance(config.input, TokenInput):
        extra = sorted(contents.keys() & {"tokenizer.json", "display.json", "blocked.txt"})
        if extra:
            raise ModelFolderError(
                path / extra[0],
                "has no meaning for a model that takes features",
                "remove it or correct input.kind",
            )
        return None
    name = "tokenizer.json"
    tokenizer = _tokenizer(path, name, contents)
    _check_vocabulary(path / name, tokenizer, config.input.vocabulary_size, "input.vocabulary_size")
    _check_unknown_characters(path / name, tokenizer)
    display, blocked = _display(path, contents), _blocked(path, contents)
    with _tokens_of(path, name, "input"):
        return TextCodec(
            tokenizer,
            unknown_token=config.input.unknown_token,
            start_token=config.input.start_token,
            end_token=config.input.end_token,
            display=display,
            blocked=blocked,
        )


def output_text(path: Path, config: ModelConfig, contents: dict[str, bytes]) -> OutputText | None:
    """What a transducer writes; None for other models. Raises ModelFolderError."""
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
    with _tokens_of(path, name, "decoder.input"):
        return OutputText(
            tokenizer,
            start_token=written.start_token,
            end_token=written.end_token,
            unknown_token=written.unknown_token,
        )


def _tokenizer(path: Path, name: str, contents: dict[str, bytes]) -> Tokenizer:
    if name not in contents:
        raise ModelFolderError(
            path, f"{name} is missing", "save the tokenizer with tokenizers.Tokenizer.save(path)"
        )
    try:
        return Tokenizer.from_buffer(contents[name])
    except BaseException as failure:  # the library raises nothing more precise
        raise ModelFolderError(
            path / name,
            f"cannot be read ({as_defect(failure)})",
            "save it again with tokenizers.Tokenizer.save(path)",
        ) from failure


@contextmanager
def _tokens_of(path: Path, name: str, field: str) -> Iterator[None]:
    """Around what looks up the tokens that `field` of config.json names. Raises ModelFolderError."""
    try:
        yield
    except ValueError as error:
        raise ModelFolderError(
            path / "config.json", f"{field}.{error}", f"name a token that {name} has"
        ) from error
    except BaseException as failure:
        defect = as_defect(failure)
        raise ModelFolderError(
            path / name,
            f"fails at its own tokens ({type(defect).__name__}: {defect})",
            "use the tokenizer that the model was trained with, undamaged",
        ) from failure


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


def _check_unknown_characters(path: Path, tokenizer: Tokenizer) -> None:
    # Without its unknown token it would fail at the first unknown word or character, in the middle of serving.
    tokenizer.no_padding()  # which may be as long as it likes; texts are not padded, either
    try:
        tokenizer.encode(_UNKNOWN, add_special_tokens=False)
    except BaseException as failure:
        if as_defect(failure) is not failure:
            return  # a panic is no matter of tokens: texts at which it panics are refused, one by one
        unknown = getattr(tokenizer.model, "unk_token", None)
        token = "an unknown token" if unknown is None else f"its unknown token {unknown!r}"
        raise ModelFolderError(
            path,
            f"{token} is not in its vocabulary ({failure})",
            "add the token or name another one",
        ) from failure


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
        lines = contents.get("blocked.txt", b"").decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ModelFolderError(path / "blocked.txt", f"is not UTF-8 ({error})", "save it as UTF-8") from error
    return [line.strip() for line in lines if line.strip()]
