"""Models loaded, replaced and unloaded while the server serves: nobody who began with one notices."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, MutableMapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import structlog

from gatehouse_server.errors import (
    InvalidInput,
    ModelFolderError,
    ModelNotFound,
    ModelRequired,
)
from gatehouse_server.models.finding import FoundFolder, is_gone
from gatehouse_server.models.model import LoadedModel
from gatehouse_server.models.registry import FailedModel, Registry
from gatehouse_server.network.network import Network
from gatehouse_server.network.transducer import Transducer
from gatehouse_server.sessions.hosted_model import HostedModel
from gatehouse_server.sessions.operations import CountSessions, RetireModel, ServeModel
from gatehouse_server.sessions.results import ModelServed, SessionCounts
from gatehouse_server.transport.evicting import Evictor
from gatehouse_server.transport.model_change import ModelChange
from gatehouse_server.transport.model_loading import Loading

_log = structlog.get_logger(__name__)

T = TypeVar("T")

_TIDY_SECONDS = 1.0


class Follower(Protocol):
    """Has to know when the models changed, as `Health` does."""

    async def follow(self) -> None:
        """The registry is another one than before."""


class ModelChanges:
    """Changes what is served. Of one event loop; one change at a time, each finished even if its caller left.

    `ask` has the engine do an operation, `networks` is what documents are computed with, by the keys of their models'
    contents. `required` are names without which the server must not be. `told` hears of each change, `left` of keys of
    which nothing is left, and `wake` has the engine take a turn.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        networks: MutableMapping[str, Network | Transducer],
        loading: Loading,
        required: Sequence[str],
        ask: Callable[[object], Coroutine[Any, Any, object]],
        followers: Sequence[Follower],
        told: Callable[[ModelChange], None],
        left: Callable[[str], None],
        wake: Callable[[], None],
    ) -> None:
        self._registry = registry
        self._networks = networks
        self._loading = loading
        self._required = required
        self._ask = ask
        self._evictor = Evictor(ask)
        self._followers = followers
        self._told = told
        self._left = left
        self._wake = wake
        self._by_hand: dict[str, Path] = {}
        self._with_sessions: set[LoadedModel] = set()
        self._one_at_a_time = asyncio.Lock()
        self._under_way: set[asyncio.Task[Any]] = set()
        self._tidying: asyncio.TimerHandle | None = None
        registry.released = self._let_go_if_done

    async def load(self, folder: Path) -> ModelChange:
        """Serves the model in a folder. Raises ModelFolderError, and nothing has changed then."""
        return await self._alone(self._load_by_hand(folder))

    async def unload(self, key: str, *, force: bool) -> tuple[ModelChange, int]:
        """Serves the model `name@version` to nobody new; with `force` ends its sessions in memory, and tells how many.

        Raises InvalidInput, ModelNotFound, ModelRequired, and with `force` what ending a session does.
        """
        return await self._alone(self._unload(key, force=force))

    async def reload(self) -> list[ModelChange]:
        """Serves what the folders hold now. Raises ModelFolderError when they cannot be looked at."""
        return await self._alone(self._reload())

    @property
    def under_way(self) -> bool:
        """Whether a change has not come to its end."""
        return bool(self._under_way)

    def close(self) -> None:
        """The process ends: nothing is tidied any more."""
        if self._tidying is not None:
            self._tidying.cancel()

    def sessions_left(self, model: LoadedModel) -> None:
        """No session needs a leaving model any more."""
        self._with_sessions.discard(model)
        self._let_go_if_done(model)

    async def _alone(self, change: Coroutine[Any, Any, T]) -> T:
        async def in_turn() -> T:
            async with self._one_at_a_time:
                return await change

        task = asyncio.create_task(in_turn())
        self._under_way.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # looked at: whoever asked may have left

    # --- Loading --------------------------------------------------------------------------------------

    async def _load_by_hand(self, path: Path) -> ModelChange:
        folder = FoundFolder.of_path(path)
        change = await self._serve_folder(folder, failing=True)
        self._by_hand[change.key] = folder.path
        return change

    async def _serve_folder(self, folder: FoundFolder, *, failing: bool) -> ModelChange:
        """Serves what a folder holds. A defect is raised if it is `failing`, else told."""
        try:
            change = await self._served(folder)
        except ModelFolderError as error:
            if failing:
                raise
            change = ModelChange(key=folder.key, change="failed", problem=str(error))
            self._registry.note_failure(FailedModel(key=folder.key, path=folder.path, problem=str(error)))
        await self._tell(change)
        return change

    async def _served(self, folder: FoundFolder) -> ModelChange:
        began_seconds = time.perf_counter()
        folder.check()
        content = await asyncio.to_thread(self._loading.fingerprint, folder.path)
        before = next((model for model in self._registry.models if model.key == folder.key), None)
        if before is not None and before.fingerprint == content:
            self._registry.forget_failure(folder.key)
            return ModelChange(key=folder.key, change="unchanged", fingerprint=content)
        leaving = (model for model in self._registry.leaving if model.key == folder.key)
        kept = [model for model in leaving if model.fingerprint == content]
        model, hosted = (kept[0], None) if kept else await self._loaded(folder.path, content)
        if before is not None and before.online:
            self._with_sessions.add(before)
        with self._registry.use(model):  # else the end of a call of its first life could let it go meanwhile
            self._networks[model.content_key] = model.transducer or model.network
            served = await self._asked(ServeModel(model=model, hosted=hosted), ModelServed)
            if not served.done:  # it was leaving, and has left in this moment
                hosted = await asyncio.to_thread(self._loading.make_hosted, model)
                await self._asked(ServeModel(model=model, hosted=hosted), ModelServed)
            self._with_sessions.discard(model)
        change = ModelChange(
            key=model.key,
            change="loaded" if before is None else "replaced",
            fingerprint=model.fingerprint,
            load_seconds=time.perf_counter() - began_seconds,
        )
        return change if before is None else await self._leaves(before, change)

    async def _loaded(self, path: Path, content: str) -> tuple[LoadedModel, HostedModel | None]:
        """What a folder with this content holds. Raises ModelFolderError."""
        try:
            model, hosted = await asyncio.to_thread(self._loading.load_and_host, path)
        finally:
            self._tidy_soon()
        if model.fingerprint != content:
            raise ModelFolderError(path, "changed while it was read", "load it again when all of it is there")
        return model, hosted

    # --- Unloading ------------------------------------------------------------------------------------

    async def _unload(self, key: str, *, force: bool) -> tuple[ModelChange, int]:
        if not all(key.partition("@")):
            raise InvalidInput.of_field("model", f"expected name@version, got {key[:80]!r}")
        served = [model for model in self._registry.models if model.key == key]
        leaving = [model for model in self._registry.leaving if model.key == key]
        if not served and not leaving and key not in {failure.key for failure in self._registry.failed}:
            available = ", ".join(self._keys()) or "none"
            raise ModelNotFound(f"no model {key!r}; available: {available}", metadata={"model": key})
        why = self._why_required(key)
        if served and why:
            raise ModelRequired(f"{key} {why}. Load another version before", metadata={"model": key})
        self._by_hand.pop(key, None)
        change = await self._retired(key)
        await self._tell(change)
        if not force:
            return change, 0
        evicted = 0
        for model in (*served, *leaving):
            evicted += await self._evictor.evict_all(model)
        return replace(change, leaving_sessions=0), evicted

    async def _retired(self, key: str) -> ModelChange:
        served = [model for model in self._registry.models if model.key == key]
        self._with_sessions.update(model for model in served if model.online)
        await self._ask(RetireModel(key=key))
        change = ModelChange(key=key, change="unloaded")
        leaving = [model for model in self._registry.leaving if model.key == key and model not in served]
        for model in (*served, *leaving):
            change = await self._leaves(model, change)
        return change

    async def _leaves(self, model: LoadedModel, change: ModelChange) -> ModelChange:
        """The change with the sessions that go on with a model that it makes leave."""
        sessions = (await self._asked(CountSessions(models=(model,)), SessionCounts)).counts
        self._let_go_if_done(model)
        return replace(change, leaving_sessions=change.leaving_sessions + sessions[model.content_key])

    # --- Looking again --------------------------------------------------------------------------------

    async def _reload(self) -> list[ModelChange]:
        found = await asyncio.to_thread(self._loading.find)
        folders: dict[str, FoundFolder] = {folder.key: folder for folder in found}
        for key, path in list(self._by_hand.items()):
            if await asyncio.to_thread(is_gone, path):
                del self._by_hand[key]
            else:
                name, _, version = key.partition("@")
                folders[key] = FoundFolder(name=name, version=version, path=path)
        changes = [await self._serve_folder(folder, failing=False) for folder in folders.values()]
        known = dict.fromkeys([*self._keys(), *(failure.key for failure in self._registry.failed)])
        unseen = {folder.name for folder in folders.values() if folder.unreadable}
        for key in known:
            if key in folders or key.partition("@")[0] in unseen:  # nobody knows that it is gone
                continue
            why = self._why_required(key)
            if why and key in self._keys():
                problem = f"its folder is gone, and it {why}"
                change = ModelChange(key=key, change="kept", problem=problem)
            else:
                change = await self._retired(key)
            await self._tell(change)
            changes.append(change)
        return changes

    # --- What all of it needs -------------------------------------------------------------------------

    def _keys(self) -> list[str]:
        return [model.key for model in self._registry.models]

    def _why_required(self, key: str) -> str:
        """Why a model must not go; empty when it may."""
        name = key.partition("@")[0]
        others = [model for model in self._registry.models if model.key != key]
        if key in self._required:
            return f"is required (--require-models {key})"
        if name in self._required and not any(model.name == name for model in others):
            return f"is the only version of {name}, which is required (--require-models {name})"
        return ""

    async def _asked(self, operation: object, kind: type[T]) -> T:
        answer = await self._ask(operation)
        assert isinstance(answer, kind)
        return answer

    async def _tell(self, change: ModelChange) -> None:
        self._told(change)
        if change.change != "unchanged":
            for follower in self._followers:
                await follower.follow()

    def _let_go_if_done(self, model: LoadedModel) -> None:
        """Forgets a leaving model that neither sessions nor calls need."""
        leaving = any(each is model for each in self._registry.leaving)
        if not leaving or model in self._with_sessions or self._registry.in_use(model):
            return
        self._registry.has_left(model)
        remaining = (*self._registry.models, *self._registry.leaving)
        if model.content_key not in (each.content_key for each in remaining):
            self._networks.pop(model.content_key, None)
        if model.key not in (each.key for each in remaining):
            self._left(model.key)
        _log.info("model let go", model=model.key, fingerprint=model.fingerprint[:12])
        self._wake()
        self._tidy_soon()

    def _tidy_soon(self) -> None:
        """Tidies once for what changes together, and when the engine has let go of it."""
        loop = asyncio.get_running_loop()
        if self._tidying is not None:
            self._tidying.cancel()
        self._tidying = loop.call_later(_TIDY_SECONDS, loop.run_in_executor, None, self._loading.tidy)
