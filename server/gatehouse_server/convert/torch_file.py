"""Reading what `torch.save` and safetensors wrote, without running anything that it holds."""

import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from gatehouse_server.convert.archives import LARGEST_BYTES, archive_names, is_zip
from gatehouse_server.convert.port import ConversionError
from gatehouse_server.models.weights import WeightsError, is_pickle, read_weights

_SUFFIXES = {".pt", ".pth", ".safetensors"}
_SAVE = 'torch.save(module.state_dict(), "weights.pt")'
# How torch names the first thing that it would have to import.
_FOREIGN = re.compile(r"GLOBAL (\S+) (?:was not|whose)")
_LENGTH = struct.Struct("<Q")


def is_torch_file(path: Path) -> bool:
    """Whether the file is what `torch.save` or safetensors write, told by its first bytes, or else by its name."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(_LENGTH.size + 1)
    if start.startswith(b"PK\x03\x04"):
        try:
            with zipfile.ZipFile(path) as archive:
                return any(name.endswith("/data.pkl") for name in archive.namelist())
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
            return path.suffix in _SUFFIXES
    return is_pickle(start) or start[_LENGTH.size :] == b"{" or path.suffix in _SUFFIXES


def read_torch_file(path: Path) -> object:
    """What the file holds: a mapping of tensors, or whatever else was saved. Raises ConversionError."""
    size_bytes = path.stat().st_size
    if not 0 < size_bytes <= LARGEST_BYTES:
        raise ConversionError(f"{path}: {size_bytes:,} bytes are no weights", "copy the file again")
    with path.open("rb") as file:
        start = file.read(_LENGTH.size + 1)
    if is_pickle(start):
        return _load_pickle(path)
    return _read_safetensors(path)


def _read_safetensors(path: Path) -> Mapping[str, Tensor]:
    try:
        return read_weights(path.read_bytes())
    except WeightsError as error:
        raise ConversionError(f"{path}: {error}", error.remedy) from error


def _load_pickle(path: Path) -> object:
    if is_zip(path):
        names = archive_names(path)
        if any(name.endswith("/constants.pkl") for name in names):
            raise ConversionError(
                f"{path}: is a TorchScript program, which is never run here",
                f'save its weights with torch.save(torch.jit.load("{path.name}").state_dict(), "weights.pt")',
            )
    try:
        with warnings.catch_warnings():
            # torch warns of its own storage types; nobody who converts can do anything about that.
            warnings.simplefilter("ignore")
            # A file, because torch takes the ending of a name for a format.
            with path.open("rb") as file:
                return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _of_objects(path, error) from error
    except (
        RuntimeError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        EOFError,
        OSError,
    ) as error:
        raise _unreadable(path, error) from error
    except (
        AssertionError,  # torch's, of the format before archives
        MemoryError,
        RecursionError,
        OverflowError,
        struct.error,
        zipfile.BadZipFile,
    ) as error:
        raise _unreadable(path, error) from error


def _of_objects(path: Path, error: Exception) -> ConversionError:
    """Of a pickle that needs code to be read, a whole module or a checkpoint with other objects, or is damaged."""
    foreign = _FOREIGN.search(str(error))
    if foreign is None:
        return ConversionError(
            f"{path}: is damaged, or a pickle of other things than tensors, which is never opened",
            f"copy it again, or save the weights alone, where you trust the file, with {_SAVE}",
        )
    return ConversionError(
        f"{path}: holds Python objects ({foreign[1]}), and reading them could run any code",
        f"save the weights alone, where you trust the file, with {_SAVE}",
    )


def _unreadable(path: Path, error: BaseException) -> ConversionError:
    told = str(error).strip().split("\n", 1)[0] or type(error).__name__
    return ConversionError(
        f"{path}: cannot be read, it is truncated or damaged ({told})", f"copy it again, or {_SAVE}"
    )
