"""The text before a cursor, taken apart for suggesting: what is settled, what may still change, what is being
typed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

from gatehouse_server.models.capitalisation import Capitalisation, typed_capitalisation
from gatehouse_server.models.sections import SentenceEnd
from gatehouse_server.models.sentence import ends_sentence, sentence_start
from gatehouse_server.models.vocabulary import Vocabulary, is_word_character

UNSETTLED_CHARACTERS = 64
"""How much of a text without white space may still change, and as much again of a word that begins before that;
what lies further back counts as settled.
"""

_JOINED_PIECES = 4
"""How many pieces the word being typed may have: "don" + "'" is on its way to "don't"."""

Spans = Sequence[tuple[int, int]]
"""Where each token stands in the text: its first character and the one after its last."""
Words = Sequence[int | None]
"""Which word of the tokenizer's each token belongs to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedText:
    """The text before a cursor.

    `stable_ids`: the tokens up to the last white space, which further typing can't change: the tape to be.
    `provisional_ids`: tokens of the last chunk that may still change ("3." on its way to "3.5"): consumed for
    the answer, not written to the tape.
    `prefix`: the unfinished last word as it was spelt; empty when a new word is to be suggested.
    `starts_sentence`: no word of the sentence stands before the one to suggest.
    `capitalisation`: what the suggestions are to look like; `curly_apostrophe`: whether the text uses "’".
    `is_whole`: the text begins where the tape has to (after a sentence end that starts over), not where a
    window cuts.
    `cut_word`: the text's first chunk, which a window may have cut (empty when it can't have), and
    `cut_tokens`: how many of `stable_ids` stand for it, or for the blanks that the text begins with: at the beginning
    of a text some tokenizers make more of them.
    """

    stable_ids: tuple[int, ...]
    provisional_ids: tuple[int, ...]
    prefix: str
    starts_sentence: bool
    capitalisation: Capitalisation
    curly_apostrophe: bool
    is_whole: bool
    cut_word: str
    cut_tokens: int


def split_typed(
    tokenizer: Tokenizer, vocabulary: Vocabulary, text: str, sentence_end: SentenceEnd
) -> TypedText:
    """Take `text` apart. With "start_over" only what follows the last sentence end counts."""
    begin = sentence_start(text)
    starts_over = sentence_end == "start_over"
    is_whole = starts_over and begin > 0
    considered = text[begin:] if starts_over else text
    settled = considered.rstrip()
    ends_in_space = len(settled) < len(considered)
    last_chunk = "" if ends_in_space or not settled else settled.rsplit(None, 1)[-1]
    boundary = len(settled) - min(len(last_chunk), UNSETTLED_CHARACTERS)

    encoding = tokenizer.encode(settled, add_special_tokens=False)
    ids, spans, words = encoding.ids, encoding.offsets, encoding.word_ids  # each access builds the whole list
    first_open = _first_open(spans, words, settled, boundary)
    begins, prefix_token = _unfinished_word(spans, words, vocabulary, settled, first_open)
    prefix = settled[begins:]
    sentence_begin = 0 if starts_over else min(begin, len(settled))
    starts_sentence = not any(map(is_word_character, settled[sentence_begin:begins])) or (
        not prefix and bool(last_chunk) and ends_sentence(settled)
    )
    blanks = len(considered) - len(considered.lstrip())
    cut_word = "" if is_whole or not settled or blanks else settled.split(None, 1)[0]
    return TypedText(
        stable_ids=tuple(ids[:first_open]),
        provisional_ids=tuple(ids[first_open:prefix_token]),
        prefix=prefix,
        starts_sentence=starts_sentence,
        capitalisation=typed_capitalisation(prefix, starts_sentence),
        curly_apostrophe="’" in considered,
        is_whole=is_whole,
        cut_word=cut_word,
        cut_tokens=sum(end <= (blanks or len(cut_word)) for _, end in spans[:first_open]),
    )


def _first_open(spans: Spans, words: Words, text: str, boundary: int) -> int:
    """The index of the first token of `text` that reaches past `boundary`. A word is not divided, unless it is
    endless: where the tokenizer cuts no words, white space does.
    """
    first = len(spans)
    while first > 0 and spans[first - 1][1] > boundary:
        first -= 1
    while (
        0 < first < len(spans)
        and words[first] is not None
        and words[first] == words[first - 1]
        and not _blanks(text, spans[first])
        and boundary - spans[first - 1][0] <= UNSETTLED_CHARACTERS
    ):
        first -= 1
    return first


def _unfinished_word(
    spans: Spans, words: Words, vocabulary: Vocabulary, text: str, first_open: int
) -> tuple[int, int]:
    """Where the unfinished last word of `text` begins: its character and its token; the ends of both without
    one.
    """
    nothing = len(text), len(spans)
    if first_open == len(spans):
        return nothing
    # The pieces that the tokenizer cuts the chunk into, as (first character, first token).
    pieces: list[tuple[int, int]] = []
    for token in range(first_open, len(words)):
        if not pieces or words[token] is None or words[token] != words[token - 1]:
            pieces.append((spans[token][0] + _blanks(text, spans[token]), token))
    if spans[-1][1] != len(text):
        return nothing  # the tokenizer drops what was typed last, so the word before it is finished
    # The longest run of pieces that some word begins with is what is being typed.
    for start, token in pieces[-_JOINED_PIECES:]:
        if is_word_character(text[start]) and vocabulary.has_completions(text[start:]):
            return start, token
    start, token = pieces[-1]
    return (start, token) if is_word_character(text[-1]) else nothing


def _blanks(text: str, span: tuple[int, int]) -> int:
    """How much white space a token begins with: many sub-word tokenizers put the blank before a word into it."""
    covered = text[slice(*span)]
    return len(covered) - len(covered.lstrip())
