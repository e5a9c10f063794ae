"""Memory of models that are loaded, replaced and unloaded: what has left takes none."""

import asyncio
import gc
import weakref
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest
from gatehouse import aio
from gatehouse_server.transport import model_changes

from tests.allocated import allocated_bytes
from tests.app.changing_models import DOCUMENT, TOKENS, fresh, kinds, serving, tape
from tests.tiny import write_tiny_classifier, write_tiny_keyboard


async def test_a_model_that_is_let_go_is_freed(models: Path) -> None:
    """Its weights, its table of states and what documents were computed with: nothing holds them."""
    write_tiny_keyboard(models / "keyboard" / "2", seed=1)
    write_tiny_classifier(models / "topics" / "2", seed=1)
    async with serving(models) as server, aio.Client(server.target) as client:
        session = await client.session("keyboard@1")
        await tape(session)
        async with client.stream() as stream:
            large = await stream.session("keyboard@1")
            await large.append(tokens=TOKENS, vector=True)
            await large.delete()
        assert [result.error async for result in client.classify([("one", DOCUMENT)], model="topics@1")] == [
            None
        ]
        assert len(await client.list_models()) == 4
        gone = [weakref.ref(server.registry.get(key).network) for key in ("keyboard@1", "topics@1")]
        for key in ("keyboard@1", "topics@1"):
            await server.changes.unload(key, force=False)
        await session.delete()
        await server.has_left()
        await fresh(client, "keyboard")
        gc.collect()
        assert [reference() for reference in gone] == [None, None]


async def test_memory_is_given_back_when_models_have_come_or_gone(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a model was loaded, and when the last session of one has left, however late; not for looking at folders."""
    monkeypatch.setattr(model_changes, "_TIDY_SECONDS", 0.0)
    async with serving(models) as server, aio.Client(server.target) as client:
        given_back = asyncio.Semaphore(0)
        loop = asyncio.get_running_loop()

        def tidy() -> None:
            loop.call_soon_threadsafe(given_back.release)

        server.changes._loading = replace(server.changes._loading, tidy=tidy)
        session = await client.session("keyboard")
        await server.changes.reload()
        write_tiny_keyboard(models / "keyboard" / "1", seed=1)
        assert kinds(await server.changes.reload())["keyboard@1"] == "replaced"
        async with asyncio.timeout(20):
            await given_back.acquire()
        assert given_back.locked()
        await session.delete()
        async with asyncio.timeout(20):
            await given_back.acquire()


async def test_replacing_a_model_again_and_again_takes_no_memory(models: Path) -> None:
    """Half of the replacements leave less than 300 kB, a tenth of what each took when recordings were kept.

    Half, because the math library keeps programs of its own: some of them are compiled, or make room, at any time.
    """
    async with serving(models) as server:
        allocated = []
        for number in range(14):
            write_tiny_keyboard(models / "keyboard" / "1", seed=number % 2 + 1)
            assert kinds(await server.changes.reload())["keyboard@1"] == "replaced"
            await server.has_left()
            allocated.append(allocated_bytes())
        assert median(after - before for before, after in pairwise(allocated)) < 300_000
