"""How people write a day: numbers in several orders, names of months, everything in words; with slips."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from random import Random
from typing import Literal

from .numerals import numbered, ordinal, year_in_words

Kind = Literal["numbers", "names", "words"]
KINDS: tuple[Kind, ...] = ("numbers", "names", "words")

MONTHS = (  # noqa: SIM905 - words are easier to read without quotes
    "january february march april may june july august september october november december"
).split()
SHORT_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()  # noqa: SIM905 - same
WEEKDAYS = "monday tuesday wednesday thursday friday saturday sunday".split()  # noqa: SIM905 - same
SHORT_WEEKDAYS = "mon tue wed thu fri sat sun".split()  # noqa: SIM905 - same
OTHER_WORDS = ("sept", "tues", "thurs", "the", "of", "on", "in", "day", "us", "uk")

FIRST_SHORT_YEAR, LAST_SHORT_YEAR = 1969, 2068
"""Years that may be written with two digits, as POSIX reads them."""

_SLIPS = 0.08
_SHORTEST_SLIP = 5  # shorter names have neighbours one letter away: june and july, mar and may
_WRONG_WEEKDAYS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Spelling:
    """One way of writing a day."""

    text: str
    kind: Kind


def spell(day: date, draw: Random) -> Spelling:
    """The day as somebody might write it."""
    kind = draw.choices(KINDS, weights=(3, 4, 2))[0]
    if kind == "numbers":
        text = _in_numbers(day, draw)
    elif kind == "names":
        text = _with_names(day, draw)
    else:
        text = _in_words(day, draw)
    if draw.random() < 0.2:
        text = _with_weekday(text, day, draw)
    return Spelling(text=_cased(text, draw), kind=kind)


def _in_numbers(day: date, draw: Random) -> str:
    year, full_day, full_month = _year(day, draw), f"{day.day:02}", f"{day.month:02}"
    d, m = draw.choice(((str(day.day), str(day.month)), (full_day, full_month)))
    way = draw.randrange(9)
    if way == 0:
        return f"{day.year}-{full_month}-{full_day}"
    if way == 1:
        joint = draw.choice("//. ")
        return f"{day.year}{joint}{m}{joint}{d}"
    if way == 2:
        return f"{day.year}{full_month}{full_day}"
    if way in (3, 4):  # month first, unless a note says otherwise or there is no such month
        note = draw.choice(("", "", " (US)"))
        return f"{d}/{m}/{year}" if day.day > 12 and draw.random() < 0.3 else f"{m}/{d}/{year}{note}"
    if way == 5:
        return f"{d}/{m}/{year} (UK)"
    if way == 6:
        return f"{d}-{m}-{year}"
    joint = draw.choice((".", ".", ". "))
    return f"{d}{joint}{m}{joint}{year}"


def _with_names(day: date, draw: Random) -> str:
    year, month = _year(day, draw), _month(day, draw)
    d = draw.choice((str(day.day), numbered(day.day), numbered(day.day), f"{day.day:02}"))
    comma = draw.choice((",", "", ","))
    way = draw.randrange(8)
    if way in (0, 1):
        return f"{d} {month}{draw.choice(('', '', ','))} {year}"
    if way in (2, 3):
        return f"{month} {d}{comma} {year}"
    if way == 4:
        return f"{draw.choice(('', 'the '))}{d} of {month}{comma} {year}"
    if way == 5:
        return f"{month} the {numbered(day.day)}{comma} {year}"
    if way == 6:
        joint = draw.choice("-- /.")
        return f"{d}{joint}{month.rstrip('.')}{joint}{year}"
    return f"{day.year}{draw.choice((' ', ', ', '-'))}{month} {d}"


def _in_words(day: date, draw: Random) -> str:
    spoken = ordinal(day.day, draw.choice("--- "))
    month = _month(day, draw) if draw.random() < 0.2 else MONTHS[day.month - 1]
    if draw.random() < 0.15:
        month = _slip(month, draw)
    year = year_in_words(day.year, draw) if draw.random() < 0.8 else str(day.year)
    comma = draw.choice(("", "", ","))
    way = draw.randrange(4)
    if way == 0:
        return f"{month} {spoken}{comma} {year}"
    if way == 1:
        return f"{month} the {spoken}{comma} {year}"
    if way == 2:
        return f"the {spoken} day of {month}{comma} {year}"
    return (
        f"{draw.choice(('the ', 'the ', ''))}{spoken} of {month}{comma} {draw.choice(('', '', 'in '))}{year}"
    )


def _year(day: date, draw: Random) -> str:
    if FIRST_SHORT_YEAR <= day.year <= LAST_SHORT_YEAR and draw.random() < 0.25:
        return draw.choice(("", "", "'")) + f"{day.year % 100:02}"
    return str(day.year)


def _month(day: date, draw: Random) -> str:
    if draw.random() < 0.5:
        month = MONTHS[day.month - 1]
        return _slip(month, draw) if draw.random() < _SLIPS else month
    short = "sept" if day.month == 9 and draw.random() < 0.4 else SHORT_MONTHS[day.month - 1]
    return short + draw.choice(("", "", "."))


def _with_weekday(text: str, day: date, draw: Random) -> str:
    """It may be wrong: the date counts."""
    number = draw.randrange(7) if draw.random() < _WRONG_WEEKDAYS else day.weekday()
    if draw.random() < 0.5:
        name = WEEKDAYS[number]
        name = _slip(name, draw) if draw.random() < _SLIPS else name
    else:
        name = {"tue": "tues", "thu": "thurs"}.get(SHORT_WEEKDAYS[number], SHORT_WEEKDAYS[number])
        name = draw.choice((SHORT_WEEKDAYS[number], name)) + draw.choice(("", "."))
    if draw.random() < 0.15:
        return f"{text} ({name})"
    return f"{draw.choice(('', '', 'on '))}{name}{draw.choice((', ', ' ', ', '))}{text}"


def _slip(word: str, draw: Random) -> str:
    """A letter left out, doubled or exchanged with the next one, behind the first."""
    if len(word) < _SHORTEST_SLIP:
        return word
    place = draw.randrange(1, len(word) - 1)
    way = draw.randrange(3)
    if way == 0:
        return word[:place] + word[place + 1 :]
    if way == 1:
        return word[:place] + word[place] + word[place:]
    return word[:place] + word[place + 1] + word[place] + word[place + 2 :]


def _cased(text: str, draw: Random) -> str:
    case = draw.randrange(4)
    if case == 0:
        return text
    if case == 1:
        return text.upper()
    # Each word by itself: str.title would write 3Rd.
    words = text.split(" ")
    return " ".join(
        word[:1].upper() + word[1:] if word.isalpha() and len(word) > 3 else word for word in words
    )
