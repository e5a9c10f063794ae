"""Where models lie: folders `<name>/<version>/` of directories, and those that come with the package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gatehouse_server
from gatehouse_server.errors import ModelFolderError, printable

EMBEDDED = Path(gatehouse_server.__file__).parent / "embedded"
"""The models that come with the package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFolder:
    """What may be a model's folder. Without a version, its config.json lies one level too high, or nobody knows what
    lies in it: `unreadable` says why it cannot be looked into.

    Name and version are as people read them.
    """

    name: str
    version: str
    path: Path
    unreadable: str = ""

    @classmethod
    def of_path(cls, path: Path) -> FoundFolder:
        """`path` as `<name>/<version>`. Links are not followed: one named after a version is that version."""
        path = path.absolute()
        return cls(name=printable(path.parent.name), version=printable(path.name), path=path)

    @property
    def key(self) -> str:
        """Name and version: `keyboard@1`."""
        return f"{self.name}@{self.version}" if self.version else self.name

    def check(self) -> None:
        """Raises `ModelFolderError` when it lies where no model can, or cannot be looked into."""
        if self.unreadable:
            raise _not_looked_into(self.path, self.unreadable)
        if not self.version:
            raise ModelFolderError(
                self.path,
                "config.json lies outside a version's folder",
                "models are <name>/<version>/config.json",
            )


def find_folders(directories: Sequence[Path], embedded: Path | None) -> list[FoundFolder]:
    """Every `<name>/<version>/` of the embedded folder, then of `directories`.

    Of two folders for one `name@version` the later directory's counts. Raises `ModelFolderError` when one of
    `directories` is no directory, or cannot be looked into.
    """
    for directory in directories:
        if is_gone(directory):
            raise ModelFolderError(
                directory,
                "is not a directory",
                "create it, or name the directory that holds <name>/<version>/",
            )
    embedded_directories = [embedded] if embedded is not None and embedded.is_dir() else []
    found: dict[str, FoundFolder] = {}
    for directory in [*embedded_directories, *directories]:
        for folder in _scan(directory):
            if folder.unreadable:  # any version may lie in it
                found = {key: other for key, other in found.items() if other.name != folder.name}
            found[folder.key] = folder
    return list(found.values())


def is_gone(path: Path) -> bool:
    """Whether no folder is there. One that may not be looked at is not gone."""
    try:
        return not path.is_dir()
    except OSError:
        return False


def _scan(directory: Path) -> list[FoundFolder]:
    """What lies in `directory` as `<name>/<version>/`. What cannot be a model is found too, to be reported."""
    found = []
    try:
        names = _folders(directory)
        if (directory / "config.json").exists():
            found.append(FoundFolder(name=printable(directory.name), version="", path=directory))
    except OSError as error:
        raise _not_looked_into(directory, str(error.strerror)) from error
    for name in names:
        try:
            found += _versions(name)
        except FileNotFoundError:
            continue  # removed meanwhile
        except OSError as error:
            found.append(
                FoundFolder(name=printable(name.name), version="", path=name, unreadable=str(error.strerror))
            )
    return found


def _versions(name: Path) -> list[FoundFolder]:
    found = [
        FoundFolder(name=printable(name.name), version=printable(version.name), path=version)
        for version in _folders(name)
    ]
    if (name / "config.json").exists():
        found.append(FoundFolder(name=printable(name.name), version="", path=name))
    return found


def _folders(directory: Path) -> list[Path]:
    return sorted(entry for entry in directory.iterdir() if not _is_passed_over(entry) and not is_gone(entry))


def _is_passed_over(entry: Path) -> bool:
    # The root of a volume has a lost+found, which is its administrator's alone.
    return entry.name.startswith((".", "__")) or entry.name == "lost+found"


def _not_looked_into(path: Path, why: str) -> ModelFolderError:
    return ModelFolderError(
        path, f"cannot be looked into ({why})", "let the server's user read it, or take it away"
    )
