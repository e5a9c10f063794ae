"""Where sentences end in running text, as far as a keyboard needs to know."""

import re

_CLOSING = "\"'”’»)\\]}"
# The look-behind and the possessive quantifiers keep this linear on "......" and ")))))" of any length.
_END = re.compile(rf"(?<![.!?…])(?P<marks>[.!?…]++)[{_CLOSING}]*+(?=\s|\Z)|[\n\r\u2028\u2029]")
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")
_LONGEST_WORD = 24

# Only those that rarely end a sentence: "etc.", "Jr.", "No." and "p.m." may, and a wrong start costs little.
_ABBREVIATIONS = frozenset(
    (  # noqa: SIM905 - a string of words is easier to read and to extend than a list
        "mr mrs ms mx dr prof st mt messrs mme mlle sr rev hon gen col maj sgt capt cpt lt cmdr adm gov sen "
        "rep pres vs cf viz approx dept est fig figs vol pp al ca resp eg ie "
        "jan feb apr jun jul aug sep sept oct nov dec"
    ).split()
)


def sentence_start(text: str) -> int:
    """The index at which the sentence being typed begins; 0 when no sentence ends in `text`.

    A sentence ends with `.`, `!`, `?` or `…`, then closing quotes and brackets, then white space; or with a
    line break. Abbreviations ("Mr.", "e.g."), initials ("J. R.") and the number of a list item ("3." at a
    sentence's start) end none.
    """
    start = 0
    for match in _END.finditer(text):
        if match.end() == len(text) and match["marks"]:
            break  # without white space after it, "3." may become "3.5"
        if _is_end(text, match, start):
            start = match.end()
    return start


def ends_sentence(text: str) -> bool:
    """Whether `text` stops right after what would be a sentence end if white space followed."""
    start = sentence_start(text)
    return any(
        match.end() == len(text) and match["marks"] and _is_end(text, match, start)
        for match in _END.finditer(text, start)
    )


def _is_end(text: str, match: re.Match[str], start: int) -> bool:
    marks = match["marks"]
    if marks != ".":
        return True
    before = text[max(start, match.start() - _LONGEST_WORD) : match.start()]
    words = before.split()
    word = words[-1].lstrip("\"'“‘«([{") if words and not before[-1].isspace() else ""
    if word.isdigit():
        return len(words) > 1
    if word in ("I", "i"):
        return True
    return not (word.casefold() in _ABBREVIATIONS or _INITIALS.fullmatch(word))
