"""Numbers in English words: days as ordinals, years as people say them."""

from __future__ import annotations

from random import Random

_UNITS = (  # noqa: SIM905 - words are easier to read without quotes
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
_TENS = "zero ten twenty thirty forty fifty sixty seventy eighty ninety".split()  # noqa: SIM905 - same
_ORDINALS = (  # noqa: SIM905 - same
    "zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth "
    "fifteenth sixteenth seventeenth eighteenth nineteenth"
).split()
_TENTHS = {20: "twentieth", 30: "thirtieth"}

WORDS = (*_UNITS, *_TENS[2:], *_ORDINALS[1:], *_TENTHS.values(), "oh", "hundred", "thousand", "and")
"""Every word that this module writes."""


def cardinal(number: int, joint: str = "-") -> str:
    """0 to 99 in words; `joint` stands between tens and units."""
    if number < len(_UNITS):
        return _UNITS[number]
    tens, units = divmod(number, 10)
    return f"{_TENS[tens]}{joint}{_UNITS[units]}" if units else _TENS[tens]


def ordinal(number: int, joint: str = "-") -> str:
    """1 to 39 as first, second, ..."""
    if number < len(_ORDINALS):
        return _ORDINALS[number]
    tens, units = divmod(number, 10)
    return f"{_TENS[tens]}{joint}{_ORDINALS[units]}" if units else _TENTHS[number]


def numbered(day: int) -> str:
    """1st, 2nd, 3rd, 4th, ..."""
    ending = "th" if 10 < day < 14 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return f"{day}{ending}"


def year_in_words(year: int, draw: Random) -> str:
    """1900 to 2099: nineteen eighty-four, nineteen oh five, two thousand (and) three, twenty twenty-one."""
    joint = draw.choice("--- ")
    century, rest = divmod(year, 100)
    if century == 20 and (rest < 10 or draw.random() < 0.4):
        link = draw.choice((" ", " and "))
        return "two thousand" + (link + cardinal(rest, joint) if rest else "")
    first = cardinal(century)
    if rest == 0:
        return f"{first} hundred"
    if rest < 10:
        return f"{first} oh {cardinal(rest)}"
    return f"{first} {cardinal(rest, joint)}"
