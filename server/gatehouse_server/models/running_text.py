"""Text that grows token by token: what each token adds to it, blanks included.

A tokenizer with a decoder knows where blanks belong, and one whose vocabulary has blanks as tokens needs no others. One
of whole words knows nothing of them, so the rules of print are followed: marks and contractions attach to the word
before them, opening marks to the word behind them.
"""

from collections.abc import Sequence
from typing import Protocol

from tokenizers import Tokenizer

from gatehouse_server.models.capitalisation import capitalise
from gatehouse_server.models.sentence import ends_sentence, sentence_start
from gatehouse_server.models.vocabulary import Vocabulary, is_word_character

_TAIL_CHARACTERS = 512
"""How much of a text decides how it goes on. Longer sentences than that are rare, and cost a wrong capital."""

_CONTEXT_TOKENS = 16
"""How many tokens decide what the next one adds to a decoded text."""

_INCOMPLETE = "�"
"""What decoders put for bytes that are not yet a character."""

_CLOSING = frozenset(".,?!:;…)]}%»”’")
_OPENING = frozenset("([{$£€¥#@«“‘¿¡")
_JOINING = frozenset("-/_")
_QUOTES = frozenset("\"'")
_WITHIN_NUMBERS = frozenset(".,:")
_APOSTROPHES = ("'", "’")


class RunningText(Protocol):
    """A text that grows."""

    def lengthen(self, token_id: int) -> str:
        """What the next token adds; the pieces joined are the continuation. Empty while a character is incomplete."""


def running_text(
    tokenizer: Tokenizer,
    vocabulary: Vocabulary,
    *,
    unknown_id: int | None,
    before: str | None,
    before_ids: Sequence[int],
) -> RunningText:
    """A text that goes on behind `before_ids`. `before` is how their end was spelt, where that is known."""
    if tokenizer.decoder is not None:
        return _Decoded(tokenizer, ends_in_space=bool(before and before[-1].isspace()), before_ids=before_ids)
    if vocabulary.has_blanks:
        return _Characters(vocabulary)
    return _Words(vocabulary, unknown_id=unknown_id, before=before, before_ids=before_ids)


class _Characters:
    """Tokens as they stand, blanks among them."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._surfaces = vocabulary.surfaces

    def lengthen(self, token_id: int) -> str:
        """See `RunningText`."""
        return self._surfaces[token_id]


class _Decoded:
    """What a tokenizer's decoder makes of the last tokens with the new one, and had made of them without it."""

    def __init__(self, tokenizer: Tokenizer, *, ends_in_space: bool, before_ids: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._ids = list(before_ids[-_CONTEXT_TOKENS:])
        self._told = len(self._ids)
        self._ends_in_space = ends_in_space

    def lengthen(self, token_id: int) -> str:
        """See `RunningText`."""
        self._ids.append(token_id)
        whole = self._decoded(self._ids)
        if whole.endswith(_INCOMPLETE):
            return ""
        piece = whole[len(self._decoded(self._ids[: self._told])) :]
        surplus = max(0, len(self._ids) - _CONTEXT_TOKENS)
        del self._ids[:surplus]
        self._told = len(self._ids)
        if self._ends_in_space:
            piece = piece.lstrip()
        self._ends_in_space = self._ends_in_space and not piece
        return piece

    def _decoded(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))


class _Words:
    """Whole words and marks. Where the tokenizer folds case, sentences begin with a capital."""

    def __init__(
        self, vocabulary: Vocabulary, *, unknown_id: int | None, before: str | None, before_ids: Sequence[int]
    ) -> None:
        self._surfaces = vocabulary.surfaces
        self._breaks = vocabulary.control_ids - {unknown_id}
        self._folds_case = vocabulary.folds_case
        self._tail = ""
        self._open_quotes: set[str] = set()
        self._joins_next = False
        if before is None:
            for token_id in before_ids[-_CONTEXT_TOKENS:]:
                self.lengthen(token_id)
        else:
            self._tail = before[-_TAIL_CHARACTERS:]
            self._open_quotes = {mark for mark in _QUOTES if _quotes_in(self._tail, mark) % 2}
            self._joins_next = self._tail[-1:] in _OPENING or (
                self._tail[-1:] in self._open_quotes and not self._tail[-2:-1].isalnum()
            )

    def lengthen(self, token_id: int) -> str:
        """See `RunningText`. A control token, which only a tape can have, begins a new text."""
        if token_id in self._breaks:
            self._tail, self._open_quotes, self._joins_next = "", set(), False
            return ""
        word = self._surfaces[token_id]
        joined = self._attaches(word)
        if self._folds_case and self._starts_sentence():
            word = capitalise(word, "first")
        piece = word if joined else f" {word}"
        self._tail = (self._tail + piece)[-_TAIL_CHARACTERS:]
        return piece

    def _attaches(self, word: str) -> bool:
        """Whether no blank stands before `word`; notes whether one may stand behind it."""
        tail = self._tail
        joins = self._joins_next or not tail or tail[-1].isspace()
        self._joins_next = False
        if word in _QUOTES:
            opens = word not in self._open_quotes
            self._open_quotes ^= {word}
            self._joins_next = opens
            return joins or not opens
        if word in _JOINING:
            self._joins_next = bool(tail)
            return True
        if word in _OPENING:
            self._joins_next = True
            return joins
        if word[:1] in _CLOSING or word == "n't":
            return True
        if word.startswith(_APOSTROPHES) and len(word) > 1:
            return True
        within_number = tail[-1:] in _WITHIN_NUMBERS and tail[-2:-1].isdigit() and word[:1].isdigit()
        return joins or within_number

    def _starts_sentence(self) -> bool:
        begun = self._tail[sentence_start(self._tail) :]
        return ends_sentence(self._tail) or not any(map(is_word_character, begun))


def _quotes_in(text: str, mark: str) -> int:
    """How often a mark stands in a text, apostrophes within words left out."""
    return sum(
        character == mark
        and not (text[index - 1 : index].isalnum() and text[index + 1 : index + 2].isalnum())
        for index, character in enumerate(text)
    )
