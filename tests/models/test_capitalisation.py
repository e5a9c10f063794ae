"""Suggestions in the capitals of what was typed."""

import pytest
from gatehouse_server.models.capitalisation import capitalise, typed_capitalisation


@pytest.mark.parametrize(
    ("candidate", "prefix", "at_start", "styled"),
    [
        ("doing", "do", False, "doing"),
        ("doing", "Do", False, "Doing"),
        ("doing", "DO", False, "DOING"),
        ("doing", "D", False, "Doing"),
        ("doing", "dO", False, "doing"),
        ("doing", "DOi", False, "Doing"),
        ("doing", "do", True, "doing"),
        ("doing", "", True, "Doing"),
        ("doing", "", False, "doing"),
        ("Boston", "bo", False, "Boston"),
        ("Boston", "", False, "Boston"),
        ("Boston", "BO", False, "BOSTON"),
        ("iPhone", "Ip", False, "iPhone"),
        ("iPhone", "", True, "iPhone"),
        ("I", "i", False, "I"),
        ("I'm", "I", False, "I'm"),
        ("don't", "DON'", False, "DON'T"),
        ("don't", "don", False, "don't"),
        ("3rd", "3", True, "3rd"),
        ("état", "É", False, "État"),
        (".", "", True, "."),
    ],
)
def test_each_case(candidate: str, prefix: str, at_start: bool, styled: str) -> None:
    """Typed capitals are followed, and a word's own capitals are kept."""
    assert capitalise(candidate, typed_capitalisation(prefix, at_start)) == styled
