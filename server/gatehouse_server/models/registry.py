"""Which models are served: found in folders `<name>/<version>/`, asked for as `keyboard` or `keyboard@1`."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import gatehouse_server
from gatehouse_server.errors import ModelFailed, ModelFolderError, ModelNotFound
from gatehouse_server.models.folder import DEFAULT_FOLD_LIMIT_BYTES, load_folder
from gatehouse_server.models.model import LoadedModel
from gatehouse_server.network.arithmetic import FLOAT32, Arithmetic

EMBEDDED = Path(gatehouse_server.__file__).parent / "embedded"
"""The models that come with the package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedModel:
    """A folder that could not be loaded, and one line that says what to mend."""

    key: str
    path: Path
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    name: str
    version: str
    path: Path

    @property
    def key(self) -> str:
        return f"{self.name}@{self.version}" if self.version else self.name


class Registry:
    """The models of a server, loaded or failed. Immutable."""

    def __init__(self, models: Iterable[LoadedModel], failed: Iterable[FailedModel] = ()) -> None:
        self._models = {model.key: model for model in sorted(models, key=_order)}
        self._failed = {failure.key: failure for failure in sorted(failed, key=lambda failure: failure.key)}
        # Ascending order makes the last one of a name its newest.
        self._newest = {model.name: model for model in self._models.values()}

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
        found: dict[str, _Found] = {}
        for directory in directories:
            if not directory.is_dir():
                raise ModelFolderError(
                    directory,
                    "is not a directory",
                    "create it, or name the directory that holds <name>/<version>/",
                )
        embedded_directories = [embedded] if embedded is not None and embedded.is_dir() else []
        for directory in [*embedded_directories, *directories]:
            found.update((candidate.key, candidate) for candidate in _scan(directory))
        models: list[LoadedModel] = []
        failed: list[FailedModel] = []
        for candidate in found.values():
            outcome = _load(candidate, device, fold_limit_bytes, arithmetic)
            if isinstance(outcome, LoadedModel):
                models.append(outcome)
            else:
                failed.append(outcome)
            on_loaded(outcome)
        return cls(models, failed)

    @property
    def models(self) -> tuple[LoadedModel, ...]:
        """All loaded models, by name, then version."""
        return tuple(self._models.values())

    @property
    def failed(self) -> tuple[FailedModel, ...]:
        """All folders that could not be loaded, by key."""
        return tuple(self._failed.values())

    def get(self, key: str) -> LoadedModel:
        """The model `name@version`, or the newest loaded version of `name`.

        Raises `ModelFailed` when its folder is broken, `ModelNotFound` with what there is otherwise.
        """
        model = self._models.get(key) or self._newest.get(key)
        if model is not None:
            return model
        failures = [
            failure
            for failure in self._failed.values()
            if key in (failure.key, failure.key.partition("@")[0])
        ]
        if failures:
            raise ModelFailed(
                f"model {key} could not be loaded: {failures[-1].problem}",
                metadata={"model": key, "path": str(failures[-1].path)},
            )
        available = ", ".join(self._models) or "none"
        raise ModelNotFound(
            f"no model {key!r}; available: {available}", metadata={"model": key, "available": available}
        )


def version_order(version: str) -> tuple[tuple[int, int, str], ...]:
    """A key that sorts versions as people read them: 2 before 10, 1.9 before 1.10, words before numbers."""
    parts = re.findall(r"\d+|[^\d._-]+", version)
    return tuple((1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts)


def _order(model: LoadedModel) -> tuple[str, tuple[tuple[int, int, str], ...], str]:
    return model.name, version_order(model.version), model.version


def _scan(directory: Path) -> list[_Found]:
    """What lies in `directory` as `<name>/<version>/`. A config.json one level too high is found too, to be
    reported.
    """
    found = []
    if (directory / "config.json").exists():
        found.append(_Found(name=directory.name, version="", path=directory))
    for name in _folders(directory):
        if (name / "config.json").exists():
            found.append(_Found(name=name.name, version="", path=name))
        found.extend(_Found(name=name.name, version=version.name, path=version) for version in _folders(name))
    return found


def _folders(directory: Path) -> list[Path]:
    return sorted(
        entry for entry in directory.iterdir() if entry.is_dir() and not entry.name.startswith((".", "__"))
    )


def _load(
    found: _Found, device: str, fold_limit_bytes: int, arithmetic: Arithmetic
) -> LoadedModel | FailedModel:
    try:
        if not found.version:
            raise ModelFolderError(
                found.path,
                "config.json lies outside a version's folder",
                "models are <name>/<version>/config.json",
            )
        return load_folder(found.path, device, fold_limit_bytes, arithmetic=arithmetic)
    except ModelFolderError as error:
        return FailedModel(key=found.key, path=found.path, problem=str(error))
