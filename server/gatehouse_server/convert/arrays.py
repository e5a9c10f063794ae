"""Arrays of numbers in files: `.npy`, `.npz`, and folders of `.npy`, each looked at before it is read."""

import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from gatehouse_server.convert.archives import LARGEST_BYTES, archive_names, is_zip
from gatehouse_server.convert.port import ConversionError

_MAGIC = b"\x93NUMPY"
_MOST_FILES = 100_000


def is_array_file(path: Path) -> bool:
    """Whether it is an `.npy`, an `.npz`, or a folder with `.npy` files in it."""
    if path.is_dir():
        return next(path.rglob("*.npy"), None) is not None
    if not path.is_file():
        return False
    if path.suffix in (".npy", ".npz"):
        return True
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def read_arrays(path: Path) -> dict[str, Tensor]:
    """The arrays by name: those of an `.npz`, or of a folder's files by their path in it, without `.npy`. That of a
    single `.npy` has the file's name. Never unpickles. Raises ConversionError.
    """
    if path.is_dir():
        files = sorted(path.rglob("*.npy"))
        if len(files) > _MOST_FILES:
            raise ConversionError(f"{path}: holds {len(files):,} arrays", "name the folder of one model")
        return {file.relative_to(path).with_suffix("").as_posix(): _read_file(file) for file in files}
    if not is_zip(path):
        return {path.stem: _read_file(path)}
    arrays = {}
    for name in archive_names(path):
        if not name.endswith(".npy"):
            raise ConversionError(f"{path}: holds {name}, which is no array", "save it with numpy.savez")
        with zipfile.ZipFile(path) as archive:
            try:
                entry = archive.open(name)
            except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError) as error:
                raise ConversionError(f"{path}: {name} cannot be read ({error})", "copy it again") from error
            with entry:
                arrays[name.removesuffix(".npy")] = _read(
                    entry, archive.getinfo(name).file_size, f"{path}: {name}"
                )
    return arrays


def read_array(path: Path) -> Tensor:
    """The only array of a file. Raises ConversionError."""
    if not path.is_file():
        raise ConversionError(f"{path}: there is no such file", "name an .npy file")
    arrays = read_arrays(path)
    if len(arrays) != 1:
        raise ConversionError(
            f"{path}: expected one array, got {', '.join(arrays) or 'none'}", "save it as .npy"
        )
    return next(iter(arrays.values()))


def _read_file(path: Path) -> Tensor:
    try:
        with path.open("rb") as file:
            return _read(file, path.stat().st_size, str(path))
    except OSError as error:
        raise ConversionError(
            f"{path}: cannot be read ({error.strerror})", "make it a readable file"
        ) from error


def _read(file: IO[bytes], size_bytes: int, where: str) -> Tensor:
    try:
        version = npy.read_magic(file)
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, by_columns, kind = header(file)
        # Python's whole numbers, because numpy's wrap around.
        claimed = kind.itemsize
        for size in shape:
            claimed *= int(size)
        if kind.hasobject:
            raise ConversionError(
                f"{where}: holds Python objects, which are never read", "save numbers alone"
            )
        if kind.kind not in "fiu" or min(shape, default=1) < 0:
            raise ConversionError(f"{where}: expected numbers, got {kind} {shape}", "save them as float32")
        if claimed > min(size_bytes, LARGEST_BYTES):
            raise ConversionError(
                f"{where}: {shape} of {kind} are {claimed:,} bytes, and {size_bytes:,} are there",
                "copy it again",
            )
        content = file.read(claimed)
        if len(content) != claimed:
            raise ConversionError(f"{where}: is truncated", "copy it again")
        array = np.frombuffer(content, dtype=kind).reshape(shape, order="F" if by_columns else "C")
        return torch.from_numpy(_native(array))
    except (ValueError, EOFError, zipfile.BadZipFile, OverflowError, zlib.error) as error:
        if isinstance(error, ConversionError):
            raise
        raise ConversionError(f"{where}: is no whole array ({error})", "copy it again") from error


def _native(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """In the machine's byte order, with axes in C's order, as torch takes it."""
    return np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="))).reshape(array.shape)
