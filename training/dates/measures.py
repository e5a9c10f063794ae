"""How many spellings are read right: by a network, by a server, by python-dateutil."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import torch
from dateutil import parser  # type: ignore[import-untyped]
from gatehouse import Client

from .batches import Batcher
from .days import Example
from .network import DateNetwork
from .spelling import FIRST_SHORT_YEAR, KINDS, Kind

Readings = Sequence[str | None]
"""What was read for each example; None where nothing was."""

_BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The part of the examples that are right throughout, of all and of each kind; and some that are not."""

    exact: float
    by_kind: dict[Kind, float]
    examples: int
    wrong: tuple[tuple[Example, str | None], ...]


def figures_of(examples: Sequence[Example], readings: Readings) -> Figures:
    """Compares what was read with the truth. Raises ValueError without examples, or for another number of readings."""
    if not examples or len(examples) != len(readings):
        raise ValueError(f"expected a reading for each of {len(examples)} examples, got {len(readings)}")
    right = [reading == example.day for example, reading in zip(examples, readings, strict=True)]
    by_kind: dict[Kind, float] = {}
    for kind in KINDS:
        own = [good for good, example in zip(right, examples, strict=True) if example.kind == kind]
        if own:
            by_kind[kind] = sum(own) / len(own)
    rows = zip(examples, readings, right, strict=True)
    return Figures(
        exact=sum(right) / len(right),
        by_kind=by_kind,
        examples=len(examples),
        wrong=tuple((example, reading) for example, reading, good in rows if not good),
    )


@torch.no_grad()
def read_by_network(network: DateNetwork, batcher: Batcher, examples: Sequence[Example]) -> list[str | None]:
    """Greedy decoding in torch: the likeliest character each time, ten of them and the end."""
    network.eval()
    readings: list[str | None] = []
    for first in range(0, len(examples), _BATCH):
        batch = batcher.batch(examples[first : first + _BATCH])
        summaries = network.encoder(batch.ids, batch.lengths)
        given = batch.given[:, :1]
        for _ in range(batch.wanted.shape[1]):
            likeliest = network.decoder(summaries, given)[:, -1].argmax(dim=1, keepdim=True)
            given = torch.cat([given, likeliest], dim=1)
        readings.extend(batcher.written(row) for row in given[:, 1:].tolist())
    return readings


def read_by_server(
    client: Client, model: str, examples: Sequence[Example], *, beam_size: int
) -> list[str | None]:
    """What a server answers, asked as any other client would."""
    readings: list[str | None] = [None] * len(examples)
    documents = ((str(number), example.text) for number, example in enumerate(examples))
    for result in client.transduce(documents, model=model, beam_size=beam_size):
        if result.error is None:
            readings[int(result.id)] = result.text
    return readings


def read_by_dateutil(examples: Sequence[Example]) -> list[str | None]:
    """The parser that people use in Python. A text that it refuses counts as wrong.

    It is told what it can't know: the order of day and month that the spelling goes by, and the century of a year of
    two digits. Words that it does not know it may leave out.
    """
    return [_read_by_dateutil(example.text) for example in examples]


class _OurCenturies(parser.parserinfo):  # type: ignore[misc]
    """Years of two digits as POSIX has them, not as the calendar on the wall suggests."""

    def convertyear(self, year: int, century_specified: bool = False) -> int:
        if year >= 100 or century_specified:
            return year
        return year + (1900 if year >= FIRST_SHORT_YEAR % 100 else 2000)


_PARSER = parser.parser(_OurCenturies())


def _read_by_dateutil(text: str) -> str | None:
    day_first = "(UK)" in text.upper() or re.search(r"\d[.-]", text) is not None
    year_first = re.search(r"\b\d{4}\D+\d{1,2}\D+\d{1,2}\b", text) is not None
    try:
        read = _PARSER.parse(
            text,
            dayfirst=day_first and not year_first,
            yearfirst=year_first,
            fuzzy=True,
            default=datetime(2000, 1, 1),
        )
    except (ValueError, OverflowError):
        return None
    return str(read.date().isoformat())
