"""Suggestions of a model that has several tokens for one word."""

import pytest
from gatehouse_server.models.registry import Registry

from tests.sessions.desk import Desk
from tests.tiny import KEYBOARD_WORDS, word_tokenizer, write_tiny_keyboard


def words(result):
    """The suggested words."""
    return [suggestion.text for suggestion in result.suggestions]


@pytest.fixture(scope="module")
def spellings(tmp_path_factory):
    """A keyboard whose tokenizer knows case, with a second token for each word: one with a capital."""
    directory = tmp_path_factory.mktemp("spellings")
    folder = write_tiny_keyboard(directory / "keyboard" / "1")
    marks, small = KEYBOARD_WORDS[:14], KEYBOARD_WORDS[14:40]
    tokenizer = word_tokenizer([*marks, *small, *map(str.capitalize, small)])
    tokenizer.normalizer = None
    tokenizer.save(str(folder / "tokenizer.json"))
    registry = Registry.load([directory], embedded=None)
    assert not registry.failed
    return registry


def test_spellings_of_one_word_take_one_place(spellings):
    """At a sentence's start "the" and "The" are one suggestion, and there are as many as asked for all the same."""
    desk = Desk(spellings)
    everything = words(desk.suggest("user", "", k=66))
    assert len(everything) > 20
    for k in (1, 5, 20):
        assert words(desk.suggest("user", "", k=k)) == everything[:k]


def test_excluding_a_word_excludes_its_spellings(spellings):
    """All tokens of an excluded word make room for the next best."""
    desk = Desk(spellings)
    everything = words(desk.suggest("user", "go ", k=66))
    excluded = {word.lower() for word in everything[:10]}
    allowed = [word for word in everything if word.lower() not in excluded]
    assert words(desk.suggest("user", "go ", k=10, exclude=tuple(excluded))) == allowed[:10]
