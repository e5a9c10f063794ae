"""A batch of documents, from when it is formed until it is answered."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import NamedTuple

from gatehouse_server.engine.documents import Wants
from gatehouse_server.engine.offline_backend import BatchAnswers
from gatehouse_server.engine.ticket import Ticket

_LONG_SECONDS = 0.25


class Kind(NamedTuple):
    """What documents of one batch have in common: the key of the model's content, what is wanted of them, and whether
    each of them is very long by itself.
    """

    model_key: str
    wants: Wants
    very_long: bool


@dataclass(slots=True, kw_only=True)
class RunningBatch:
    """A batch between two slices."""

    kind: Kind
    place: int
    tickets: list[Ticket]
    computation: Generator[None, None, BatchAnswers]
    began_seconds: float
    form_seconds: float
    compute_seconds: float = 0.0

    @property
    def is_long(self) -> bool:
        """Whether others should not wait for its end."""
        return self.compute_seconds > _LONG_SECONDS
