"""Reading numbers and attributes of an HDF5 file that may be truncated, or made to harm.

Only what lies in the file itself is read: links and storage elsewhere are refused, and so are datasets that declare
much more than the file holds.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from gatehouse_server.convert.port import ConversionError

_PLAIN_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
_MOST_TIMES = 64
_DAMAGED = (
    OSError,
    KeyError,
    ValueError,
    TypeError,
    RuntimeError,
    OverflowError,
    MemoryError,
    AttributeError,
)
_AGAIN = "copy the file again, or save the model again"


class Hdf5File:
    """An open file. Use as a context manager. `label` is what messages call it."""

    def __init__(self, source: Path | io.BytesIO, label: str) -> None:
        """Raises ConversionError."""
        self.label = label
        try:
            self._file = h5py.File(source, "r")
        except _DAMAGED as error:
            raise self._damaged(error) from error

    def __enter__(self) -> "Hdf5File":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def has(self, path: str) -> bool:
        """Whether there is something at `path`, also where that may not be read."""
        return self._find(path) is not None

    def names(self, path: str) -> tuple[str, ...]:
        """What the group at `path` holds; nothing where there is none."""
        found = self._find(path)
        if found is None:
            return ()
        if not isinstance(found, h5py.Group):
            raise ConversionError(f"{self.label}: {path} is no group", _AGAIN)
        try:
            return tuple(found.keys())
        except _DAMAGED as error:
            raise self._damaged(error) from error

    def attribute(self, path: str, name: str) -> Any:
        """An attribute of the group at `path` ("" is the root), bytes as text; None where there is none."""
        found = self._find(path) if path else self._file
        try:
            value = None if found is None else found.attrs.get(name)
        except _DAMAGED as error:
            raise self._damaged(error) from error
        if isinstance(value, bytes):
            return value.decode("utf-8", errors="replace")
        return value

    def text_list(self, path: str, name: str) -> tuple[str, ...] | None:
        """An attribute that is a list of names; Keras divides long ones into `name0`, `name1` and so on."""
        whole = self.attribute(path, name)
        if whole is None:
            parts: list[str] = []
            while (more := self.attribute(path, f"{name}{len(parts)}")) is not None:
                parts.append(more)
            if not parts:
                return None
            return tuple(text for part in parts for text in self._texts(part, name))
        return self._texts(whole, name)

    def numbers(self, path: str, shape: Sequence[int | None]) -> NDArray[np.float32]:
        """The dataset at `path` as float32. `shape` is what it has to have, None for any dimension.

        Raises ConversionError before anything is read of what is elsewhere, larger or of another kind.
        """
        found = self._find(path)
        if found is None:
            raise ConversionError(f"{self.label}: lacks {path}", "save the model again, with its weights")
        if not isinstance(found, h5py.Dataset):
            raise ConversionError(f"{self.label}: {path} is no dataset", _AGAIN)
        try:
            self._check(path, found, shape)
            return np.ascontiguousarray(found[()], dtype=np.float32)
        except _DAMAGED as error:
            if isinstance(error, ConversionError):
                raise
            raise self._damaged(error) from error

    def _check(self, path: str, dataset: h5py.Dataset, shape: Sequence[int | None]) -> None:
        told = f"{self.label}: {path}"
        if dataset.external or dataset.is_virtual:
            raise ConversionError(f"{told} keeps its numbers in another file", "save the model in one file")
        if dataset.dtype.kind != "f" or dataset.attrs.get("dtype") is not None:
            kind = dataset.attrs.get("dtype", dataset.dtype)
            raise ConversionError(
                f"{told}: expected floating-point numbers, got {kind}", "save it as float32"
            )
        got = dataset.shape or ()
        if len(got) != len(shape) or any(
            want not in (None, size) for want, size in zip(shape, got, strict=True)
        ):
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            raise ConversionError(
                f"{told}: expected the shape ({wanted}) that the architecture asks for, got {tuple(got)}",
                "save architecture and weights of one model",
            )
        plist = dataset.id.get_create_plist()
        filters = {plist.get_filter(number)[0] for number in range(plist.get_nfilters())}
        if not filters <= _PLAIN_FILTERS:
            raise ConversionError(f"{told} is packed in an unusual way", "save the model again, uncompressed")
        stored = dataset.id.get_storage_size()
        if dataset.nbytes > stored * _MOST_TIMES or dataset.nbytes == 0:
            raise ConversionError(
                f"{told} declares {dataset.nbytes:,} bytes and holds {stored:,}",
                "save the model again, uncompressed",
            )

    def _find(self, path: str) -> h5py.Group | h5py.Dataset | None:
        """What lies at `path`, each part of it a part of this file."""
        found: h5py.Group | h5py.Dataset = self._file
        for part in filter(None, path.split("/")):
            if not isinstance(found, h5py.Group):
                return None
            try:
                link = found.get(part, getlink=True)
                if link is not None and not isinstance(link, h5py.HardLink):
                    raise ConversionError(
                        f"{self.label}: {path} is a link to {_target(link)}, not part of the file",
                        "save the model in one file",
                    )
                found = None if link is None else found[part]
            except _DAMAGED as error:
                if isinstance(error, ConversionError):
                    raise
                raise self._damaged(error) from error
            if found is None:
                return None
        return found

    def _texts(self, value: Any, name: str) -> tuple[str, ...]:
        try:
            return tuple(each.decode() if isinstance(each, bytes) else str(each) for each in value)
        except (TypeError, UnicodeDecodeError) as error:
            raise ConversionError(f"{self.label}: {name} is no list of names", _AGAIN) from error

    def _damaged(self, error: BaseException) -> ConversionError:
        told = str(error).strip().split("\n", 1)[0] or type(error).__name__
        return ConversionError(f"{self.label}: is no whole HDF5 file ({told})", _AGAIN)


def _target(link: object) -> str:
    if isinstance(link, h5py.ExternalLink):
        return f"{link.filename}:{link.path}"
    return str(getattr(link, "path", "something else"))
