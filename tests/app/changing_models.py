"""A server in this process whose models change, and who uses it meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from operator import gt
from pathlib import Path
from typing import Any

from gatehouse import aio
from gatehouse_server.app.in_process import DocumentClassifier
from gatehouse_server.app.ports import Ports
from gatehouse_server.app.run import Gatehouse
from gatehouse_server.models.registry import Registry
from gatehouse_server.settings import Settings
from gatehouse_server.transport.model_change import ModelChange
from gatehouse_server.transport.model_changes import ModelChanges

TOKENS = [5, 9, 13, 20]
DOCUMENT = "the star of the galaxy"


class Server:
    """A server in this process, and what its operator can do."""

    def __init__(self, gatehouse: Gatehouse, ports: Ports, models: Path) -> None:
        self.gatehouse, self.ports, self.models = gatehouse, ports, models
        assert gatehouse._built is not None
        self.built = gatehouse._built
        self.target = f"127.0.0.1:{ports.grpc}"

    @property
    def changes(self) -> ModelChanges:
        return self.built.admin_servicers.admin._changes

    @property
    def registry(self) -> Registry:
        return self.built.registry

    @property
    def keys(self) -> list[str]:
        return [model.key for model in self.registry.models]

    async def has_left(self) -> None:
        """Waits until nothing is leaving any more."""
        async with asyncio.timeout(20):
            while self.registry.leaving:  # noqa: ASYNC110 - a thread sets no event
                await asyncio.sleep(0.005)

    def samples(self, name: str) -> dict[str, float]:
        """The samples of a metric by model and version."""
        found = {}
        for family in self.gatehouse._metrics.registry.collect():
            for sample in family.samples:
                if sample.name == name:
                    found[sample.labels["model"] + "@" + sample.labels["version"]] = sample.value
        return found


@asynccontextmanager
async def serving(models: Path, **settings: Any) -> AsyncIterator[Server]:
    """A server on free ports."""
    gatehouse = Gatehouse(
        Settings(models=(models,), embedded_models=False, port=0, admin_port=0, http_port=0, **settings)
    )
    ports = await gatehouse.start()
    try:
        yield Server(gatehouse, ports, models)
    finally:
        async with asyncio.timeout(30):
            await gatehouse.drain()


async def tape(session: aio.Session) -> tuple[int, ...]:
    """Writes the whole tape anew; the likeliest words at its end."""
    step = (await session.write(at=0, tokens=TOKENS, k=5)).best
    return tuple(candidate.id for candidate in step)


async def fresh(client: aio.Client, model: str) -> tuple[int, ...]:
    """What a new session of a model answers."""
    session = await client.session(model)
    try:
        return await tape(session)
    finally:
        await session.delete()


@asynccontextmanager
async def repeating(*works: Callable[[], Any]) -> AsyncIterator[list[int]]:
    """Does things again and again, each for itself; how often each was done. A failure fails the test."""
    counts = [0] * len(works)
    ended = asyncio.Event()

    async def repeat(number: int) -> None:
        while not ended.is_set():
            await works[number]()
            counts[number] += 1

    async with asyncio.TaskGroup() as group:
        for number in range(len(works)):
            group.create_task(repeat(number))
        yield counts
        # Everybody saw the last change, too.
        before = counts.copy()
        async with asyncio.timeout(20):
            while not all(map(gt, counts, before)):  # noqa: ASYNC110 - the work sets none
                await asyncio.sleep(0.005)
        ended.set()


async def documents(target: str, ended: asyncio.Event) -> AsyncIterator[tuple[str, str]]:
    """Documents for one long stream."""
    number = 0
    while not ended.is_set():
        yield (str(number), DOCUMENT)
        number += 1
        await asyncio.sleep(0.002)


def scores_of(models: Path, version: str) -> list[tuple[str, float]]:
    """What a version of the classifier says of the document, computed without a server."""
    return list(DocumentClassifier(models / "topics" / version).classify([DOCUMENT])[0].scores)


def kinds(changes: Sequence[ModelChange]) -> dict[str, str]:
    """What became of each model."""
    return {change.key: change.change for change in changes}
