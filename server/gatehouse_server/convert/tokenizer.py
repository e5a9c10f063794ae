"""The tokenizer of a converted model: the user's own tokenizer.json, or a word-level one of a list of tokens."""

import json
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordLevel

from gatehouse_server.convert.port import ConversionError
from gatehouse_server.convert.request import NUMBERS, Split, TextRequest
from gatehouse_server.convert.tensors import listed
from gatehouse_server.convert.word_list import read_text, read_words

_USUAL_UNKNOWN = ("<unk>", "[UNK]", "<UNK>", "<oov>", "<OOV>", "UNK", "unk")
_WORD_OR_MARK = r"[\p{L}\p{N}\p{M}]+(?:'[\p{L}\p{N}\p{M}]+)*|[^\s\p{L}\p{N}\p{M}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyTokenizer:
    """tokenizer.json, the unknown token if there is one of the vocabulary, and lines about it."""

    content: bytes
    unknown_token: str | None
    notes: tuple[str, ...]


def make_tokenizer(text: TextRequest, vocabulary_size: int) -> ReadyTokenizer:
    """The tokenizer of a model of `vocabulary_size` tokens. Raises ConversionError where it does not fit."""
    if text.vocabulary is None:
        raise ConversionError(
            f"a model of tokens needs its vocabulary of {vocabulary_size:,} tokens",
            f"name it with --vocab FILE (a token a line, or tokenizer.json), or --vocab {NUMBERS}",
        )
    if text.vocabulary == NUMBERS:
        words = [str(number) for number in range(vocabulary_size)]
        return _of_words(words, text, split="whitespace")
    path = Path(text.vocabulary)
    whole = _whole_tokenizer(path, text)
    if whole is not None:
        return whole
    words = read_words(path, "--vocab")
    if len(words) != vocabulary_size:
        raise ConversionError(
            f"--vocab {path}: expected {vocabulary_size:,} tokens, as the embedding has rows, got {len(words):,}",
            "name the vocabulary that the model was trained with, special tokens included, in the order of their ids",
        )
    return _of_words(words, text, split=text.split)


def _whole_tokenizer(path: Path, text: TextRequest) -> ReadyTokenizer | None:
    if path.suffix != ".json":
        return None
    content = read_text(path, "--vocab")
    try:
        held = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(held, dict) or not isinstance(held.get("model"), dict):
        return None
    if text.lowercase:
        raise ConversionError("--lowercase: tokenizer.json has its own normalizer", "leave it out")
    # Whether it can be read, and fits, is found as the folder is loaded.
    return ReadyTokenizer(content=content.encode(), unknown_token=text.unknown_token, notes=())


def _of_words(words: list[str], text: TextRequest, *, split: Split) -> ReadyTokenizer:
    known = set(words)
    unknown = text.unknown_token or next((word for word in _USUAL_UNKNOWN if word in known), None)
    if unknown is None or unknown not in known:
        told = (
            f"{unknown!r} is not in the vocabulary"
            if unknown
            else "no token of the vocabulary is the usual one"
        )
        raise ConversionError(
            f"the vocabulary needs a token for unknown words: {told}", "name it with --unknown-token TOKEN"
        )
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token=unknown))
    normal: list[normalizers.Normalizer] = [normalizers.NFC()]
    if split == "words":
        normal.append(normalizers.Replace("’", "'"))
    if text.lowercase:
        normal.append(normalizers.Lowercase())
    tokenizer.normalizer = normalizers.Sequence(normal)
    if split == "words":
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_WORD_OR_MARK), behavior="removed", invert=True)
    elif split == "whitespace":
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    notes = [f"unknown words become {unknown}", f"text is split into {split}"]
    special = {unknown, text.start_token, text.end_token}
    unreachable = [
        word
        for number, word in enumerate(words)
        if word not in special and tokenizer.encode(word, add_special_tokens=False).ids != [number]
    ]
    if unreachable:
        notes.append(
            f"{len(unreachable):,} of {len(words):,} tokens never come from text ({listed(map(repr, unreachable))}); "
            "--split and --lowercase say how text was split when the model was trained"
        )
    return ReadyTokenizer(content=tokenizer.to_str().encode(), unknown_token=unknown, notes=tuple(notes))
