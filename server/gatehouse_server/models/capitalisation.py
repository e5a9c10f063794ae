"""Suggesting words in the capitals of what was typed."""

from typing import Literal

Capitalisation = Literal["as_is", "first", "all"]
"""`first`: the first letter is a capital. `all`: every letter is."""


def typed_capitalisation(prefix: str, at_sentence_start: bool) -> Capitalisation:
    """What the typed part of a word asks for: "Do" the first letter, "DO" all letters, "do" nothing.

    One capital alone asks for the first letter only ("I" may become "It"). Without a typed part, the start of
    a sentence asks for the first letter.
    """
    if not prefix:
        return "first" if at_sentence_start else "as_is"
    letters = [character for character in prefix if character.isalpha()]
    if len(letters) > 1 and all(letter.isupper() for letter in letters):
        return "all"
    return "first" if prefix[0].isupper() else "as_is"


def capitalise(word: str, capitalisation: Capitalisation) -> str:
    """`word` in these capitals. A word with capitals of its own ("Boston", "iPhone") keeps them."""
    if capitalisation == "all":
        return word.upper()
    if capitalisation == "first" and word == word.lower():
        return word[:1].upper() + word[1:]
    return word
