"""Which models are served: found in folders `<name>/<version>/`, asked for as `keyboard` or `keyboard@1`."""

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from gatehouse_server.errors import ModelFailed, ModelFolderError, ModelNotFound, printable
from gatehouse_server.models.finding import EMBEDDED, FoundFolder, find_folders
from gatehouse_server.models.folder import DEFAULT_FOLD_LIMIT_BYTES, load_folder
from gatehouse_server.models.model import LoadedModel
from gatehouse_server.network.arithmetic import FLOAT32, Arithmetic

__all__ = ["EMBEDDED", "FailedModel", "Registry", "version_order"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedModel:
    """A folder that could not be loaded, and one line that says what to mend."""

    key: str
    path: Path
    problem: str


class _Content:
    """The models at a moment. Immutable, so that any thread may read it while another one is put in its place."""

    __slots__ = ("failed", "leaving", "models", "newest")

    def __init__(
        self,
        models: Iterable[LoadedModel],
        failed: Iterable[FailedModel],
        leaving: Iterable[LoadedModel] = (),
    ) -> None:
        self.models = {model.key: model for model in sorted(models, key=_order)}
        self.failed = {failure.key: failure for failure in sorted(failed, key=lambda failure: failure.key)}
        self.leaving = tuple(leaving)
        # Ascending order makes the last one of a name its newest.
        self.newest = {model.name: model for model in self.models.values()}


class Registry:
    """The models of a server, loaded or failed. Read and changed from any thread.

    A model that is replaced or retired is no longer found, and is *leaving* until nothing needs it any more.
    """

    def __init__(self, models: Iterable[LoadedModel], failed: Iterable[FailedModel] = ()) -> None:
        self._content = _Content(models, failed)
        self._changing = threading.Lock()
        self._uses: Counter[str] = Counter()
        self.released: Callable[[LoadedModel], None] = lambda model: None
        """Hears of a model whose last `use` has ended, on the thread of that."""

    @classmethod
    def load(
        cls,
        directories: Sequence[Path] = (),
        device: str = "cpu",
        fold_limit_bytes: int = DEFAULT_FOLD_LIMIT_BYTES,
        *,
        arithmetic: Arithmetic = FLOAT32,
        embedded: Path | None = EMBEDDED,
        on_loaded: Callable[[LoadedModel | FailedModel], None] = lambda outcome: None,
    ) -> Self:
        """Load every `<name>/<version>/` of the embedded folder, then of `directories`.

        Of two folders for one `name@version` the later directory's counts, even when it is broken: falling
        back would serve other weights than the operator put there. A broken folder is recorded, and the rest
        loads; `on_loaded` hears of each outcome as it comes. Raises `ModelFolderError` when one of
        `directories` is no directory.
        """
        models: list[LoadedModel] = []
        failed: list[FailedModel] = []
        for folder in find_folders(directories, embedded):
            outcome = _load(folder, device, fold_limit_bytes, arithmetic)
            if isinstance(outcome, LoadedModel):
                models.append(outcome)
            else:
                failed.append(outcome)
            on_loaded(outcome)
        return cls(models, failed)

    @property
    def models(self) -> tuple[LoadedModel, ...]:
        """All loaded models, by name, then version."""
        return tuple(self._content.models.values())

    @property
    def failed(self) -> tuple[FailedModel, ...]:
        """All folders that could not be loaded, by key; of some, what was loaded before is served on."""
        return tuple(self._content.failed.values())

    @property
    def leaving(self) -> tuple[LoadedModel, ...]:
        """Models that are served to those who began with them, and to nobody else."""
        return self._content.leaving

    def get(self, key: str) -> LoadedModel:
        """The model `name@version`, or the newest loaded version of `name`.

        Raises `ModelFailed` when its folder is broken, `ModelNotFound` with what there is otherwise.
        """
        content = self._content
        model = content.models.get(key) or content.newest.get(key)
        if model is not None:
            return model
        failures = [
            failure
            for failure in content.failed.values()
            if key in (failure.key, failure.key.partition("@")[0])
        ]
        if failures:
            raise ModelFailed(
                f"model {key} could not be loaded: {failures[-1].problem}",
                metadata={"model": key, "path": printable(failures[-1].path)},
            )
        available = ", ".join(content.models) or "none"
        raise ModelNotFound(
            f"no model {key!r}; available: {available}", metadata={"model": key, "available": available}
        )

    @contextmanager
    def use(self, model: LoadedModel) -> Iterator[None]:
        """Around work with a model outside of sessions: it is not let go meanwhile. For one thread."""
        self._uses[model.content_key] += 1
        try:
            yield
        finally:
            self._uses[model.content_key] -= 1
            if not self._uses[model.content_key]:
                del self._uses[model.content_key]
                self.released(model)

    def in_use(self, model: LoadedModel) -> bool:
        """Whether something outside of sessions works with it."""
        return model.content_key in self._uses

    # --- Changes --------------------------------------------------------------------------------------

    def put(self, model: LoadedModel) -> None:
        """From now on serves a model; another one under its key is leaving."""
        self._exchange(model.key, (model,))

    def retire(self, key: str) -> LoadedModel | None:
        """From now on nobody finds the model `name@version`: it is leaving. None when it only failed, or is not there;
        that it failed is forgotten.
        """
        return self._exchange(key, ())

    def note_failure(self, failure: FailedModel) -> None:
        """From now on knows that a folder could not be loaded. A model that was loaded of it before is served on."""
        with self._changing:
            content = self._content
            failed = {**content.failed, failure.key: failure}
            self._content = _Content(content.models.values(), failed.values(), content.leaving)

    def forget_failure(self, key: str) -> None:
        """The folder of `name@version` has no defect any more."""
        with self._changing:
            content = self._content
            failed = [failure for failure in content.failed.values() if failure.key != key]
            self._content = _Content(content.models.values(), failed, content.leaving)

    def has_left(self, model: LoadedModel) -> None:
        """Nothing needs a leaving model any more."""
        with self._changing:
            content = self._content
            leaving = tuple(each for each in content.leaving if each is not model)
            self._content = _Content(content.models.values(), content.failed.values(), leaving)

    def _exchange(self, key: str, coming: Sequence[LoadedModel]) -> LoadedModel | None:
        with self._changing:
            content = self._content
            before = content.models.get(key)
            self._content = _Content(
                [*(each for each in content.models.values() if each is not before), *coming],
                (failure for failure in content.failed.values() if failure.key != key),
                [*(each for each in content.leaving if each not in coming), *([before] if before else [])],
            )
            return before


def version_order(version: str) -> tuple[tuple[int, int, str], ...]:
    """A key that sorts versions as people read them: 2 before 10, 1.9 before 1.10, words before numbers."""
    parts = re.findall(r"\d+|[^\d._-]+", version)
    return tuple((1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts)


def _order(model: LoadedModel) -> tuple[str, tuple[tuple[int, int, str], ...], str]:
    return model.name, version_order(model.version), model.version


def _load(
    found: FoundFolder, device: str, fold_limit_bytes: int, arithmetic: Arithmetic
) -> LoadedModel | FailedModel:
    try:
        found.check()
        return load_folder(found.path, device, fold_limit_bytes, arithmetic=arithmetic)
    except ModelFolderError as error:
        return FailedModel(key=found.key, path=found.path, problem=str(error))
