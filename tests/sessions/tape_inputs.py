"""What is played into sessions: steps, and texts as somebody at a keyboard edits them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tests.sessions.plain_networks import PlainNetwork, Tape

BLOCKED_WORDS = frozenset({"damn"})

Edit = Literal["type", "begin", "backspace", "replace", "clear", "paste", "end sentence", "slide"]
EDITS: tuple[Edit, ...] = (
    "type",
    "type",
    "begin",
    "backspace",
    "replace",
    "clear",
    "paste",
    "end sentence",
    "slide",
)


def steps_of(network: PlainNetwork, count: int, seed: int) -> Tape:
    """So many random steps. Features are eighths, which float32 holds exactly."""
    source = random.Random(seed)
    if network.takes_tokens:
        return tuple(source.randrange(network.width) for _ in range(count))
    return tuple(tuple(source.randint(-16, 16) / 8 for _ in range(network.width)) for _ in range(count))


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedSample:
    """A text before a cursor, and what it means.

    `settled` are the tokens of the finished words since the last sentence end, `prefix` the unfinished word.
    `whole`: the sentence's beginning is in the text for sure, so the tape has to be exactly `settled`.
    """

    text: str
    settled: Tape
    prefix: str
    whole: bool


def typed(network: PlainNetwork, tape: Tape, edit: Edit, seed: int) -> TypedSample:
    """A text as it may follow one that left `tape`."""
    source = random.Random(seed)
    choice = [word for word in network.vocabulary if word.replace("'", "").isalpha()]
    words = [network.words[number] for number in tape if isinstance(number, int)]
    words = [word for word in words if word in choice]
    sentence, prefix = "", ""
    if edit == "type":
        words.append(source.choice(choice))
    elif edit == "begin":
        word = source.choice([word for word in choice if word.isalpha() and word not in BLOCKED_WORDS])
        prefix = word[: source.randint(1, len(word))]
    elif edit == "backspace":
        words = words[: -source.randint(1, 4)]
    elif edit == "replace" and words:
        words[source.randrange(len(words))] = source.choice(choice)
    elif edit == "clear":
        words = []
    elif edit == "paste":
        words += source.choices(choice, k=source.randint(1, 12))
    elif edit == "end sentence":
        sentence = " ".join([*words[-3:], "go"]) + source.choice("!?") + " "
        words = source.choices(choice, k=source.randint(0, 3))
    elif edit == "slide":
        words = words[source.randint(1, 6) :] + source.choices(choice, k=source.randint(0, 2))
    shown = [source.choice((str, str, str.capitalize, str.upper))(word) for word in words]
    return TypedSample(
        text=sentence + "".join(f"{word} " for word in shown) + prefix,
        settled=tuple(network.vocabulary[word] for word in words),
        prefix=prefix,
        whole=bool(sentence),
    )


def tapes_after(tape: Tape, sample: TypedSample, position: int, words: dict[int, str]) -> list[Tape]:
    """The tapes with which a session at `tape` may answer the text, if it then has `position` steps.

    Either the text's own; or, where the text can be a window that slid along the tape, the tape up to where they
    overlap for at least four tokens, followed by the rest of the text. The window's first word may be the end of
    the tape's.
    """
    found: list[Tape] = []
    if not sample.whole:
        for cut in (0, 1):
            rest = sample.settled[cut:]
            place = position - len(rest)
            if not 0 < place < len(tape) or len(rest) < 4 or tape[place : place + 4] != rest[:4]:
                continue
            if cut and not _continues(words, tape, place, sample.settled[0]):
                continue
            found.append(tape[:place] + rest)
    if position == len(sample.settled):
        found.append(sample.settled)
    return list(dict.fromkeys(found))


def _continues(words: dict[int, str], tape: Sequence[object], place: int, first: object) -> bool:
    """Whether the tape's word before `place` can be the whole of a window's first word."""
    before, cut = words[int(str(tape[place - 1]))], words[int(str(first))]
    return before.endswith(cut) or before.startswith("<") or cut.endswith(before)
