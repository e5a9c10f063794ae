"""Lists of words that users bring: vocabularies and labels, a word a line."""

import json
from pathlib import Path

from gatehouse_server.convert.port import ConversionError

_LARGEST_BYTES = 256 * 2**20


def read_text(path: Path, what: str) -> str:
    """The text of a file. Raises ConversionError when there is none, or it is no text."""
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise ConversionError(f"{what} {path}: {path.stat().st_size:,} bytes", "name a file of text")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConversionError(f"{what} {path}: is not UTF-8 ({error.reason})", "save it as UTF-8") from error
    except OSError as error:
        raise ConversionError(
            f"{what} {path}: cannot be read ({error.strerror})", "name a file that is there"
        ) from error


def read_words(path: Path, what: str) -> list[str]:
    """A word a line, each once. A JSON object of ids, {"the": 0}, or a JSON array, is read too."""
    content = read_text(path, what)
    if path.suffix == ".json":
        return _from_json(path, content, what)
    lines = content.split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    words = [line.removesuffix("\r") for line in lines]
    return _checked(path, words, what)


def _from_json(path: Path, content: str, what: str) -> list[str]:
    try:
        held = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConversionError(f"{what} {path}: is not valid JSON ({error})", "save it again") from error
    if isinstance(held, dict) and all(isinstance(value, int) for value in held.values()):
        if sorted(held.values()) != list(range(len(held))):
            raise ConversionError(
                f"{what} {path}: expected ids from 0 to {len(held) - 1}, each once", "number them so"
            )
        held = sorted(held, key=held.__getitem__)
    if not isinstance(held, list) or not all(isinstance(word, str) for word in held):
        raise ConversionError(f"{what} {path}: expected an object of ids or an array of words", "write it so")
    return _checked(path, held, what)


def _checked(path: Path, words: list[str], what: str) -> list[str]:
    seen: dict[str, int] = {}
    for number, word in enumerate(words, start=1):
        if not word:
            raise ConversionError(f"{what} {path}: line {number} is empty", "write a word on each line")
        if word in seen:
            raise ConversionError(
                f"{what} {path}: line {number} is {word!r} again, as line {seen[word]}",
                "write each word once",
            )
        seen[word] = number
    if not words:
        raise ConversionError(f"{what} {path}: is empty", "write a word on each line")
    return words
