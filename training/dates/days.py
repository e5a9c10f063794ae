"""Which days there are, and which of them the network never sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random

from .spelling import Kind, spell

FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(2099, 12, 31)
_HELD_BACK = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Days by what they are for. No day is in two of them, however it is written."""

    training: tuple[date, ...]
    validation: tuple[date, ...]
    held_back: tuple[date, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """What is written, and the day that it stands for, as YYYY-MM-DD."""

    text: str
    day: str
    kind: Kind


def split_days(seed: int) -> Split:
    """Every day of the two centuries in one of three parts, the same ones for the same seed."""
    count = (LAST_DAY - FIRST_DAY).days + 1
    days = [FIRST_DAY + timedelta(days=number) for number in range(count)]
    Random(seed).shuffle(days)
    part = round(_HELD_BACK * count)
    return Split(
        held_back=tuple(days[:part]),
        validation=tuple(days[part : 2 * part]),
        training=tuple(days[2 * part :]),
    )


def examples(days: Sequence[date], count: int, draw: Random) -> list[Example]:
    """So many spellings of days drawn from `days`."""
    made = []
    for day in draw.choices(days, k=count):
        spelling = spell(day, draw)
        made.append(Example(text=spelling.text, day=day.isoformat(), kind=spelling.kind))
    return made
