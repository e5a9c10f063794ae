"""Where models lie: folders `<name>/<version>/` of directories, and those that come with the package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gatehouse_server
from gatehouse_server.errors import ModelFolderError

EMBEDDED = Path(gatehouse_server.__file__).parent / "embedded"
"""The models that come with the package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFolder:
    """What may be a model's folder. Without a version, its config.json lies one level too high."""

    name: str
    version: str
    path: Path

    @classmethod
    def of_path(cls, path: Path) -> FoundFolder:
        """`path` as `<name>/<version>`. Links are not followed: one named after a version is that version."""
        path = path.absolute()
        return cls(name=path.parent.name, version=path.name, path=path)

    @property
    def key(self) -> str:
        """Name and version: `keyboard@1`."""
        return f"{self.name}@{self.version}" if self.version else self.name

    def check(self) -> None:
        """Raises `ModelFolderError` when it lies where no model can."""
        if not self.version:
            raise ModelFolderError(
                self.path,
                "config.json lies outside a version's folder",
                "models are <name>/<version>/config.json",
            )


def find_folders(directories: Sequence[Path], embedded: Path | None) -> list[FoundFolder]:
    """Every `<name>/<version>/` of the embedded folder, then of `directories`.

    Of two folders for one `name@version` the later directory's counts. Raises `ModelFolderError` when one of
    `directories` is no directory.
    """
    for directory in directories:
        if not directory.is_dir():
            raise ModelFolderError(
                directory,
                "is not a directory",
                "create it, or name the directory that holds <name>/<version>/",
            )
    embedded_directories = [embedded] if embedded is not None and embedded.is_dir() else []
    found: dict[str, FoundFolder] = {}
    for directory in [*embedded_directories, *directories]:
        found.update((folder.key, folder) for folder in _scan(directory))
    return list(found.values())


def _scan(directory: Path) -> list[FoundFolder]:
    """What lies in `directory` as `<name>/<version>/`. A config.json one level too high is found too, to be
    reported.
    """
    found = []
    if (directory / "config.json").exists():
        found.append(FoundFolder(name=directory.name, version="", path=directory))
    for name in _folders(directory):
        if (name / "config.json").exists():
            found.append(FoundFolder(name=name.name, version="", path=name))
        found.extend(
            FoundFolder(name=name.name, version=version.name, path=version) for version in _folders(name)
        )
    return found


def _folders(directory: Path) -> list[Path]:
    return sorted(
        entry for entry in directory.iterdir() if entry.is_dir() and not entry.name.startswith((".", "__"))
    )
