"""Model folders appear whole or not at all: made beside their place, looked at there, then put in it."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from gatehouse_server.convert.port import ConversionError

_PREFIX = ".converting-"
"""The server passes over folders whose names begin with a point, so it never sees one that is being made."""


@contextmanager
def new_folder(destination: Path, name: str, version: str, *, force: bool) -> Iterator["UnfinishedFolder"]:
    """A folder `name/version`, made out of sight in `destination`, which `finish` puts in its place.

    Unless it was finished, nothing of it is left, `destination` included if it was not there. Raises ConversionError
    when there is such a folder and not `force`, or it cannot be written.
    """
    target = destination / name / version
    if not force:
        _refuse_existing(target)
    made = _make_directories(destination)
    finished = False
    try:
        with _told(destination):
            scratch = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=destination))
        try:
            unfinished = UnfinishedFolder(scratch, target, name=name, version=version, force=force)
            yield unfinished
            finished = unfinished.finished
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    finally:
        if not finished:
            for folder in made:
                # One that somebody else has put something in stays.
                _remove_if_empty(folder)


class UnfinishedFolder:
    """Use `new_folder`."""

    def __init__(self, scratch: Path, target: Path, *, name: str, version: str, force: bool) -> None:
        self._scratch = scratch
        self._target = target
        self._force = force
        self.path = scratch / name / version
        """Where the files are for now. It has the names that it will have."""
        self.finished = False

    def write(self, files: Mapping[str, bytes]) -> None:
        """Write files, to the disk itself. Raises ConversionError."""
        with _told(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            for name, content in files.items():
                with (self.path / name).open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())

    def finish(self) -> Path:
        """Put it in its place. With `force` what was there goes, once the new one can take its place."""
        parent = self._target.parent
        with _told(self._target):
            _sync_folder(self.path)
            fresh = not parent.exists()
            parent.mkdir(exist_ok=True)
            old = self._scratch / "replaced"
            try:
                if self._force and self._target.exists():
                    self._target.rename(old)
                else:
                    _refuse_existing(self._target)
                self._place(old)
            except BaseException:
                if fresh:
                    _remove_if_empty(parent)
                raise
            _sync_folder(parent)
        self.finished = True
        return self._target

    def _place(self, old: Path) -> None:
        try:
            self.path.rename(self._target)
        except BaseException:
            if old.exists():
                old.rename(self._target)
            raise


def _refuse_existing(target: Path) -> None:
    if target.exists() or target.is_symlink():
        raise ConversionError(
            f"{target}: is there already", "choose another --name or --version, or replace it with --force"
        )


def _make_directories(folder: Path) -> list[Path]:
    """Make a folder; returns those that were made, the innermost first."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    with _told(folder):
        if not folder.is_dir():
            raise ConversionError(f"{folder}: is no folder", "name a folder to put models in")
        for each in reversed(missing):
            each.mkdir()
    return missing


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConversionError(
            f"{error.filename or path}: cannot be written ({error.strerror or error})",
            "choose another folder, or make room",
        ) from error
