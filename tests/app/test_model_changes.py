"""Models loaded, replaced and unloaded under traffic: nobody who began with one notices."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest
from gatehouse import aio, errors
from gatehouse_server.errors import InvalidInput, ModelFolderError, ModelNotFound, ModelRequired
from gatehouse_server.sessions.operations import ServeModel
from gatehouse_server.transport.model_loading import Loading
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.app.changing_models import (
    DOCUMENT,
    documents,
    fresh,
    kinds,
    repeating,
    scores_of,
    serving,
    tape,
)
from tests.tiny import write_tiny_classifier, write_tiny_keyboard


async def test_nothing_fails_and_nothing_is_mixed_while_models_come_and_go(models: Path) -> None:
    """Sessions and streams of documents stay on the version that they began with; those that begin later get the new
    one, and the old one is let go when the last of them has ended.
    """
    first_scores = scores_of(models, "1")
    async with serving(models) as server, aio.Client(server.target) as client:
        first = await fresh(client, "keyboard")
        staying = [await client.session("keyboard") for _ in range(3)]
        answers: set[tuple[int, ...]] = set()
        ended = asyncio.Event()
        streamed: list[list[tuple[str, float]]] = []

        async def stay(session: aio.Session) -> None:
            assert await tape(session) == first

        async def begin() -> None:
            answers.add(await fresh(client, "keyboard"))

        async def classify() -> None:
            async for result in client.classify([("one", DOCUMENT)], model="topics"):
                assert result.error is None

        async def stream() -> None:
            async for result in client.classify(documents(server.target, ended), model="topics"):
                assert result.error is None
                streamed.append([(each.label, each.score) for each in result.scores])

        streaming = asyncio.create_task(stream())
        works = [*(lambda s=session: stay(s) for session in staying), begin, classify]
        async with repeating(*works):
            write_tiny_keyboard(models / "keyboard" / "2", seed=1)
            write_tiny_classifier(models / "topics" / "2", seed=1)
            changes = await server.changes.reload()
            assert kinds(changes) == {
                "keyboard@1": "unchanged",
                "keyboard@2": "loaded",
                "topics@1": "unchanged",
                "topics@2": "loaded",
            }
            second = await fresh(client, "keyboard")
            assert second != first
            change, _ = await server.changes.unload("keyboard@1", force=False)
            assert (change.change, change.leaving_sessions) == ("unloaded", 3)
            shutil.rmtree(models / "keyboard" / "1")
            shutil.rmtree(models / "topics" / "1")
            write_tiny_keyboard(models / "keyboard" / "2", seed=2)
            assert kinds(await server.changes.reload()) == {
                "keyboard@2": "replaced",
                "topics@1": "unloaded",
                "topics@2": "unchanged",
            }
            third = await fresh(client, "keyboard")
            assert await fresh(client, "keyboard@2") == third
            assert len({first, second, third}) == 3
            assert [await tape(session) for session in staying] == [first] * 3
            assert {model.key for model in server.registry.leaving} >= {"keyboard@1", "topics@1"}
        assert answers <= {first, second, third}
        ended.set()
        await streaming
        assert len(streamed) > 10
        assert all(
            [label for label, _ in scores] == [label for label, _ in first_scores]
            and [score for _, score in scores] == pytest.approx([score for _, score in first_scores])
            for scores in streamed
        )
        for session in staying:
            await session.delete()
        await server.has_left()
        assert server.keys == ["keyboard@2", "topics@2"]
        assert set(server.samples("gatehouse_model_memory_bytes")) == {"keyboard@2", "topics@2"}
        assert set(server.samples("gatehouse_online_steps_total")) == {"keyboard@2"}


@pytest.mark.parametrize("name", ["keyboard", "topics"])
async def test_a_model_that_comes_back_is_not_let_go_with_the_last_call_of_its_first_life(
    models: Path, name: str
) -> None:
    """The stream that still held it ends while it is being put in its place again."""
    write = {"keyboard": write_tiny_keyboard, "topics": write_tiny_classifier}[name]
    async with serving(models) as server, aio.Client(server.target) as client:
        ended, began = asyncio.Event(), asyncio.Event()

        async def stream() -> None:
            async for _ in client.classify(documents(server.target, ended), model=name):
                began.set()

        streaming = asyncio.create_task(stream())
        await began.wait()
        write(models / name / "1", seed=1)
        assert kinds(await server.changes.reload())[f"{name}@1"] == "replaced"
        write(models / name / "1")
        ask = server.changes._ask

        async def slowly(operation: object) -> object:
            if isinstance(operation, ServeModel):
                ended.set()
                await streaming
            return await ask(operation)

        server.changes._ask = slowly
        assert kinds(await server.changes.reload())[f"{name}@1"] == "replaced"
        async with asyncio.timeout(20):
            results = [result async for result in client.classify([("one", DOCUMENT)], model=name)]
        assert [result.error for result in results] == [None]


async def test_a_folder_that_is_still_being_copied_is_loaded_when_it_is_whole(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read twice, for its fingerprint and to be served, it differs: the operator is told, and nothing changes."""
    folder = models / "keyboard" / "1"
    async with serving(models) as server:
        served = server.registry.get("keyboard").fingerprint
        write_tiny_keyboard(folder, seed=1)
        fingerprint = Loading.fingerprint

        def early(self: Loading, path: Path) -> str:
            found = fingerprint(self, path)
            if path == folder:
                write_tiny_keyboard(folder, seed=2)
            return found

        with monkeypatch.context() as patched:
            patched.setattr(Loading, "fingerprint", early)
            changes = {change.key: change for change in await server.changes.reload()}
        assert changes["keyboard@1"].change == "failed"
        assert "changed while it was read" in changes["keyboard@1"].problem
        assert server.registry.get("keyboard").fingerprint == served
        assert kinds(await server.changes.reload())["keyboard@1"] == "replaced"
        assert server.registry.failed == ()


async def test_sessions_that_rest_wake_on_the_content_that_they_began_with(
    models: Path, tmp_path: Path
) -> None:
    """Packed in memory while their version's folder was replaced; and what changes is stored as before."""
    store = f"sqlite:{tmp_path / 'sessions.db'}"
    async with (
        serving(models, max_live_sessions=2, state_store=store) as server,
        aio.Client(server.target) as client,
    ):
        sessions = [await client.session("keyboard") for _ in range(6)]
        first = await tape(sessions[0])
        write_tiny_keyboard(models / "keyboard" / "1", seed=1)
        assert kinds(await server.changes.reload())["keyboard@1"] == "replaced"
        assert [await tape(session) for session in sessions] == [first] * 6
        assert await fresh(client, "keyboard") != first
        fork = await client.fork(sessions[0].id)
        assert await tape(fork) == first
        for session in (*sessions, fork):
            await session.delete()
        await server.has_left()


async def test_what_is_being_generated_goes_on(models: Path) -> None:
    """A continuation has no session, and keeps its model all the same."""
    write_tiny_keyboard(models / "keyboard" / "2", seed=1)
    async with serving(models) as server, aio.Client(server.target) as client:

        async def generated(*, unloading: bool) -> list[tuple[int, int | None]]:
            tokens: list[tuple[int, int | None]] = []
            steps = client.generate(
                "how are ", model="keyboard@1", max_steps=300, alternatives=8, temperature=1.0, seed=3
            )
            async for step in steps:
                if unloading and not tokens:
                    await server.changes.unload("keyboard@1", force=True)
                tokens.append((step.alternative, step.token_id))
            return sorted(tokens, key=lambda each: each[0])

        expected = await generated(unloading=False)
        assert len(expected) > 50
        assert await generated(unloading=True) == expected
        await server.has_left()
        with pytest.raises(errors.ModelNotFoundError):
            await generated(unloading=False)


async def test_force_ends_the_sessions(models: Path) -> None:
    """Live ones and packed ones, of that model alone; their users are told why."""
    write_tiny_keyboard(models / "keyboard" / "2", seed=1)
    async with (
        serving(models, max_live_sessions=2) as server,
        aio.Client(server.target) as client,
    ):
        doomed = [await client.session("keyboard@1") for _ in range(5)]
        for session in doomed:
            await tape(session)
        other = await client.session("keyboard@2")
        second = await tape(other)
        change, evicted = await server.changes.unload("keyboard@1", force=True)
        assert (change.change, change.leaving_sessions, evicted) == ("unloaded", 0, 5)
        for session in doomed:
            with pytest.raises(errors.SessionEvictedError):
                await session.append(tokens=[5])
        assert await tape(other) == second
        await server.has_left()
        with pytest.raises(errors.ModelNotFoundError):
            await client.session("keyboard@1")


async def test_a_version_that_is_loaded_again_takes_its_sessions_back(models: Path) -> None:
    """Unloading was a mistake: the same content comes back as it was, and nothing is leaving."""
    async with serving(models) as server, aio.Client(server.target) as client:
        session = await client.session("keyboard")
        first = await tape(session)
        model = server.registry.get("keyboard")
        await server.changes.unload("keyboard@1", force=False)
        with pytest.raises(errors.ModelNotFoundError):
            await client.session("keyboard")
        change = await server.changes.load(models / "keyboard" / "1")
        assert (change.change, change.fingerprint) == ("loaded", model.fingerprint)
        assert server.registry.get("keyboard") is model
        assert server.registry.leaving == ()
        assert await tape(session) == await fresh(client, "keyboard") == first


async def test_a_broken_folder_changes_nothing(models: Path, tmp_path: Path) -> None:
    """Loading it is refused in one line; a reload tells of it, and so do metrics until it is mended; what was served is
    served on.
    """
    broken = write_tiny_keyboard(tmp_path / "elsewhere" / "keyboard" / "7")
    (broken / "model.safetensors").write_bytes(b"no weights")
    async with serving(models) as server, aio.Client(server.target) as client:
        first = await fresh(client, "keyboard")
        with pytest.raises(ModelFolderError) as caught:
            await server.changes.load(broken)
        assert str(broken) in str(caught.value)
        assert "\n" not in str(caught.value)
        with pytest.raises(ModelFolderError):
            await server.changes.load(tmp_path / "nothing" / "there")
        (models / "keyboard" / "1" / "config.json").write_text("{")
        changes = {change.key: change for change in await server.changes.reload()}
        assert (changes["keyboard@1"].change, changes["topics@1"].change) == ("failed", "unchanged")
        assert "config.json" in changes["keyboard@1"].problem
        assert [failure.key for failure in server.registry.failed] == ["keyboard@1"]
        assert [model.full_name for model in await client.list_models() if model.ready] == server.keys
        assert len(await client.list_models()) == 2
        assert await fresh(client, "keyboard") == first
        shutil.copytree(broken, models / "keyboard" / "7")
        assert kinds(await server.changes.reload())["keyboard@7"] == "failed"
        assert server.samples("gatehouse_model_failed") == {"keyboard@1": 1, "keyboard@7": 1, "topics@1": 0}
        shutil.rmtree(models / "keyboard" / "7")
        write_tiny_keyboard(models / "keyboard" / "1")
        changes_again = kinds(await server.changes.reload())
        assert changes_again == {"keyboard@1": "unchanged", "keyboard@7": "unloaded", "topics@1": "unchanged"}
        assert server.registry.failed == ()
        assert server.samples("gatehouse_model_failed") == {"keyboard@1": 0, "topics@1": 0}


async def test_a_required_model_stays(models: Path) -> None:
    """Unloading it is refused, and a reload leaves it although its folder is gone; with another version it may go."""
    async with serving(models, require_models=("keyboard",)) as server:
        with pytest.raises(ModelRequired, match="--require-models keyboard"):
            await server.changes.unload("keyboard@1", force=True)
        (models / "keyboard" / "1").rename(models / "kept")
        assert kinds(await server.changes.reload())["keyboard@1"] == "kept"
        assert server.keys == ["keyboard@1", "topics@1"]
        write_tiny_keyboard(models / "keyboard" / "2")
        assert kinds(await server.changes.reload())["keyboard@1"] == "unloaded"
        assert server.gatehouse._readiness.unready() == {}


@pytest.mark.parametrize(
    ("name", "kind"), [("keyboard", InvalidInput), ("keyboard@9", ModelNotFound), ("@1", InvalidInput)]
)
async def test_only_a_version_that_is_there_is_unloaded(
    models: Path, name: str, kind: type[Exception]
) -> None:
    """A name alone could mean another version a moment later."""
    async with serving(models) as server:
        with pytest.raises(kind):
            await server.changes.unload(name, force=False)
        assert server.keys == ["keyboard@1", "topics@1"]


async def test_a_model_loaded_by_hand_outlives_a_reload(models: Path, tmp_path: Path) -> None:
    """It is looked at like the others, and unloaded when its folder is gone."""
    folder = write_tiny_keyboard(tmp_path / "elsewhere" / "melody" / "1", seed=3)
    async with serving(models) as server:
        assert (await server.changes.load(folder)).change == "loaded"
        assert (await server.changes.load(folder)).change == "unchanged"
        assert kinds(await server.changes.reload())["melody@1"] == "unchanged"
        write_tiny_keyboard(folder, seed=4)
        assert kinds(await server.changes.reload())["melody@1"] == "replaced"
        shutil.rmtree(folder)
        assert kinds(await server.changes.reload())["melody@1"] == "unloaded"
        assert server.keys == ["keyboard@1", "topics@1"]


async def test_health_and_descriptions_follow(models: Path) -> None:
    """Of each model, on the users' port; what is served no more is NOT_SERVING."""
    import grpc.aio

    statuses = health_pb2.HealthCheckResponse
    async with serving(models) as server, grpc.aio.insecure_channel(server.target) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)

        async def health(name: str) -> Any:
            return (await stub.Check(health_pb2.HealthCheckRequest(service=f"models/{name}"))).status

        write_tiny_keyboard(models / "keyboard" / "2", seed=1)
        await server.changes.reload()
        assert await health("keyboard@2") == statuses.SERVING
        await server.changes.unload("keyboard@1", force=False)
        assert await health("keyboard@1") == statuses.NOT_SERVING
        assert await health("keyboard") == statuses.SERVING
        async with aio.Client(server.target) as client:
            assert [f"{each.name}@{each.version}" for each in await client.list_models()] == [
                "keyboard@2",
                "topics@1",
            ]


async def test_a_stored_session_of_another_content_is_kept(models: Path, tmp_path: Path) -> None:
    """After a restart with other weights under the same name its writes are refused; with the old ones it goes on."""
    store = f"sqlite:{tmp_path / 'sessions.db'}"
    async with serving(models, state_store=store) as server, aio.Client(server.target) as client:
        first = await tape(await client.session("keyboard", session_id="mine"))
    write_tiny_keyboard(models / "keyboard" / "1", seed=5)
    async with serving(models, state_store=store) as server, aio.Client(server.target) as client:
        with pytest.raises(errors.ModelNotLoadedError):
            await client.attach("mine")
        write_tiny_keyboard(models / "keyboard" / "1")
        assert kinds(await server.changes.reload())["keyboard@1"] == "replaced"
        assert await tape(await client.attach("mine")) == first


async def test_a_caller_who_leaves_does_not_leave_a_change_half_done(models: Path) -> None:
    """It is finished, and the next one waits for it."""
    write_tiny_keyboard(models / "keyboard" / "2", seed=1)
    async with serving(models) as server:
        write_tiny_keyboard(models / "keyboard" / "3", seed=2)
        loading = asyncio.create_task(server.changes.load(models / "keyboard" / "3"))
        await asyncio.sleep(0)
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading
        assert kinds(await server.changes.reload())["keyboard@3"] == "unchanged"
