"""What the recipe of `dates` writes days as, which of them it holds back, and how both sides are cut into tokens."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from random import Random

import pytest

from training.dates.days import FIRST_DAY, LAST_DAY, Example, examples, split_days
from training.dates.measures import figures_of, read_by_dateutil
from training.dates.numerals import cardinal, numbered, ordinal, year_in_words
from training.dates.spelling import KINDS, MONTHS, spell
from training.dates.tokenization import UNKNOWN, input_tokenizer, output_tokenizer


def test_every_day_is_in_exactly_one_part() -> None:
    """Whatever the spelling, a day that is held back was never trained on; one in twenty is."""
    split = split_days(7)
    parts = (split.training, split.validation, split.held_back)
    every = Counter(day for part in parts for day in part)
    count = (LAST_DAY - FIRST_DAY).days + 1
    assert set(every.values()) == {1}
    assert sorted(every) == [FIRST_DAY + timedelta(days=number) for number in range(count)]
    assert len(split.held_back) == len(split.validation) == round(count / 20)
    assert split_days(7) == split
    assert split_days(8).held_back != split.held_back


def test_examples_are_of_the_days_that_they_are_drawn_from() -> None:
    """Each with its day in full, and the same ones for the same seed."""
    days = [date(2021, 3, 3), date(1999, 12, 31)]
    drawn = examples(days, 200, Random(1))
    assert {each.day for each in drawn} == {"2021-03-03", "1999-12-31"}
    assert {each.kind for each in drawn} == set(KINDS)
    assert drawn == examples(days, 200, Random(1))


def test_no_text_stands_for_two_days() -> None:
    """Many spellings of many days: of each text there is one reading."""
    readings: dict[str, str] = {}
    for each in examples(split_days(1).training[:3000], 60_000, Random(2)):
        assert readings.setdefault(each.text.lower(), each.day) == each.day


@pytest.mark.parametrize(
    "text",
    [
        "3 march 2021",
        "3rd of march, 2021",
        "march 3, 2021",
        "2021-03-03",
        "20210303",
        "3/3/2021 (us)",
        "03/03/2021 (uk)",
        "3.3.21",
        "mar 3rd, 21",
        "the third of march, twenty twenty-one",
        "wednesday, march the third, two thousand and twenty-one",
    ],
)
def test_a_day_is_written_in_all_of_these_ways(text: str) -> None:
    """And in many others."""
    draw = Random(3)
    assert any(spell(date(2021, 3, 3), draw).text.lower() == text for _ in range(200_000))


@pytest.mark.parametrize(
    ("year", "words"),
    [
        (1900, {"nineteen hundred"}),
        (1905, {"nineteen oh five"}),
        (1984, {"nineteen eighty-four", "nineteen eighty four"}),
        (2000, {"two thousand"}),
        (2003, {"two thousand three", "two thousand and three"}),
        (2012, {"two thousand twelve", "two thousand and twelve", "twenty twelve"}),
    ],
)
def test_years_are_said_as_people_say_them(year: int, words: set[str]) -> None:
    """Each in one of a few ways."""
    assert {year_in_words(year, Random(seed)) for seed in range(60)} == words


def test_numbers_in_words() -> None:
    """Cardinal, ordinal, and with an ending."""
    assert [cardinal(number) for number in (0, 12, 20, 99)] == ["zero", "twelve", "twenty", "ninety-nine"]
    assert [ordinal(day) for day in (1, 12, 20, 21, 30, 31)] == [
        *("first", "twelfth", "twentieth", "twenty-first", "thirtieth", "thirty-first")
    ]
    assert [numbered(day) for day in (1, 2, 3, 4, 11, 12, 13, 21, 22, 23, 30)] == [
        *("1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "22nd", "23rd", "30th")
    ]


def test_pieces_keep_digits_and_words_apart() -> None:
    """Digits one by one, with a mark where they go on, so that 1 12 is not 11 2; known words whole."""
    tokenizer = input_tokenizer()
    assert tokenizer.encode("1 12").tokens == ["1", "1", "##2"]
    assert tokenizer.encode("11 2").tokens == ["1", "##1", "2"]
    assert tokenizer.encode("3RD Sept. twenty-one").tokens == ["3", "##rd", "sept", ".", "twenty", "-", "one"]
    assert tokenizer.encode("Macrh").tokens == ["m", "##a", "##c", "##r", "##h"]
    assert tokenizer.encode("März ’21").tokens == ["mar", "##z", "'", "2", "##1"]


def test_nothing_that_is_written_is_unknown() -> None:
    """Not even misspelt."""
    tokenizer = input_tokenizer()
    texts = [
        each.text for each in examples([date(2021, month, 28) for month in range(1, 13)], 5000, Random(4))
    ]
    assert not any(UNKNOWN in encoding.tokens for encoding in tokenizer.encode_batch(texts))
    assert all(month in tokenizer.get_vocab() for month in MONTHS)


def test_days_are_written_character_by_character() -> None:
    """And joined without blanks."""
    tokenizer = output_tokenizer()
    encoded = tokenizer.encode("2021-03-04")
    assert encoded.tokens == list("2021-03-04")
    assert tokenizer.decode(encoded.ids) == "2021-03-04"


def test_figures_count_what_is_right_throughout() -> None:
    """By kind too; what is wrong is kept; and readings have to be as many as examples."""
    drawn = examples([date(2021, 3, 3)], 40, Random(5))
    readings = [each.day if each.kind == "names" else "2021-03-30" for each in drawn]
    names = sum(each.kind == "names" for each in drawn)
    figures = figures_of(drawn, readings)
    assert figures.exact == names / 40
    assert figures.by_kind["names"] == 1
    assert figures.by_kind["words"] == 0
    assert len(figures.wrong) == 40 - names
    with pytest.raises(ValueError, match="expected a reading for each of 40 examples, got 39"):
        figures_of(drawn, readings[1:])


def test_the_baseline_is_told_what_it_cannot_know() -> None:
    """The order of day and month, and the century; what it refuses is None."""
    drawn = examples(split_days(1).training, 4000, Random(6))
    plain = [each for each in drawn if each.kind == "numbers" and "'" not in each.text]
    figures = figures_of(plain, read_by_dateutil(plain))
    assert figures.exact > 0.99
    assert read_by_dateutil([Example(text="?", day="2021-03-03", kind="words")]) == [None]
