"""A client process of a soak, started by its scenario: documents, generations, and sessions that come and go.

Standard input has a plan (JSON, one line) and later an empty line. Standard output says `ready`, then `ran`, then what
was sent and answered (JSON, one line).
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from gatehouse.aio import Client
from gatehouse.documents import Document
from gatehouse.errors import DeadlineExceededError, UnavailableError

from benchmarks import soak_visits
from benchmarks.waves import Wave

PATIENCE_SECONDS = 60.0
"""The application's deadline, longer than a server takes to come back."""

_VISITORS_AT_ONCE = 2
_AGAIN_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the process is to do. Waves have the fields of Wave."""

    target: str
    seconds: float
    documents: dict[str, float]
    generations: dict[str, float]
    sessions: dict[str, float]


@dataclass(slots=True, kw_only=True)
class Visited:
    """What was asked, by number, and what was answered.

    `documents` are (number, log-likelihood), `generations` (number, tokens, their log-probabilities), `sessions`
    (number, outputs after the last step). A generation is `asked_again` when it was refused before its first step, and
    `cut` when it ended in the middle.
    """

    documents_sent: int = 0
    documents: list[tuple[int, float]] = field(default_factory=list)
    generations: list[tuple[int, list[int], list[float]]] = field(default_factory=list)
    sessions: list[tuple[int, list[float]]] = field(default_factory=list)
    asked_again: int = 0
    cut: int = 0
    errors: list[str] = field(default_factory=list)


class Visitors:
    """Everybody of this process, until a moment of `time.monotonic`."""

    def __init__(self, client: Client, plan: Plan, until: float) -> None:
        self.visited = Visited()
        self._client = client
        self._plan = plan
        self._until = until
        self._random = random.Random(0)

    async def come(self) -> None:
        """All of them, each kind in its own wave."""
        generations, sessions = itertools.count(), itertools.count()
        await asyncio.gather(
            self._telling("documents", self._send_documents()),
            *(
                self._repeat(visit, numbers, Wave(**wave))
                for visit, numbers, wave in (
                    (self._generate, generations, self._plan.generations),
                    (self._write, sessions, self._plan.sessions),
                )
                for _ in range(_VISITORS_AT_ONCE)
            ),
        )

    async def _repeat(
        self, visit: Callable[[int], Awaitable[None]], numbers: itertools.count[int], wave: Wave
    ) -> None:
        while await self._pauses(wave):
            number = next(numbers)
            await self._telling(f"{visit.__name__.strip('_')} {number}", visit(number))

    async def _telling(self, name: str, visit: Awaitable[None]) -> None:
        """Awaits it; whatever it raises was seen by a user."""
        try:
            await visit
        except Exception as error:
            self.visited.errors.append(f"{name}: {type(error).__name__}: {error}")

    async def _pauses(self, wave: Wave) -> bool:
        """A pause; whether there is time left after it."""
        await asyncio.sleep(self._random.expovariate(1 / wave.pause_seconds(time.monotonic())))
        return time.monotonic() < self._until

    async def _send_documents(self) -> None:
        async for result in self._client.score(
            self._documents(), model=soak_visits.MODEL, timeout_seconds=PATIENCE_SECONDS
        ):
            if result.error is not None or result.log_likelihood is None:
                self.visited.errors.append(f"document {result.id}: {result.error}")
            else:
                self.visited.documents.append((int(result.id), result.log_likelihood))

    async def _documents(self) -> AsyncIterator[Document]:
        wave = Wave(**self._plan.documents)
        for number in itertools.count():
            if not await self._pauses(wave):
                return
            self.visited.documents_sent += 1
            yield Document(str(number), tokens=soak_visits.document(number))

    async def _generate(self, number: int) -> None:
        """The library does not repeat a generation by itself, so its user does."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            tokens: list[int] = []
            log_probabilities: list[float] = []
            try:
                async for step in self._client.generate(
                    tokens=soak_visits.prompt(number),
                    model=soak_visits.MODEL,
                    max_steps=soak_visits.GENERATED_STEPS,
                    timeout_seconds=PATIENCE_SECONDS,
                ):
                    assert step.token_id is not None, "a language model generates tokens"
                    tokens.append(step.token_id)
                    log_probabilities.append(step.log_probability)
            except (UnavailableError, DeadlineExceededError):
                if time.monotonic() > deadline:
                    raise
                self.visited.cut += bool(tokens)
                self.visited.asked_again += not tokens
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                self.visited.generations.append((number, tokens, log_probabilities))
                return

    async def _write(self, number: int) -> None:
        """A session of two writes, which is deleted then."""
        tokens = soak_visits.session(number)
        session = await self._client.session(soak_visits.SESSION_MODEL)
        await session.append(tokens=tokens[:-1])
        result = await session.append(tokens=tokens[-1:], vector=True)
        assert result.vector is not None, "it was asked for"
        self.visited.sessions.append((number, list(result.vector)))
        await session.delete()


async def run(plan: Plan) -> dict[str, Any]:
    """Everything until the time is over and answered."""
    async with Client(plan.target, timeout_seconds=PATIENCE_SECONDS) as client:
        visitors = Visitors(client, plan, time.monotonic() + plan.seconds)
        await visitors.come()
        print("ran", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        return asdict(visitors.visited)


def main() -> None:
    """The process."""
    print("ready", flush=True)
    plan = Plan(**json.loads(sys.stdin.readline()))
    print(json.dumps(asyncio.run(run(plan))), flush=True)


if __name__ == "__main__":
    main()
