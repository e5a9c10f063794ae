"""The files of a model folder, each read once, and none that is no file or cannot be what it should be."""

import stat
from pathlib import Path

from gatehouse_server.errors import ModelFolderError
from gatehouse_server.models.fingerprint import FINGERPRINTED
from gatehouse_server.models.weights import WeightsError, check_file_size

_PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl")
_MOST_BYTES = 256 * 2**20
"""Of any file but the weights. The largest vocabularies take a tenth of it."""


def read_files(path: Path) -> dict[str, bytes]:
    """What the fingerprint is of, by name. Raises `ModelFolderError`."""
    try:
        return _read_all(path)
    except OSError as error:
        raise ModelFolderError(
            path, f"cannot be read ({error.strerror})", "make it readable for the server's user"
        ) from error


def _read_all(path: Path) -> dict[str, bytes]:
    if not path.is_dir():
        raise ModelFolderError(
            path, "is not a folder", "make it <name>/<version> with config.json and weights in it"
        )
    contents = {}
    for name in FINGERPRINTED:
        try:
            contents[name] = _read(path / name)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ModelFolderError(
                path / name, f"cannot be read ({error.strerror})", "make it a readable file"
            ) from error
    if "config.json" not in contents:
        raise ModelFolderError(path, "config.json is missing", "write it as docs/model-format.md describes")
    if "model.safetensors" not in contents:
        pickles = sorted(file.name for file in path.iterdir() if file.suffix in _PICKLES)
        found = f" (found {pickles[0]}, which is never opened)" if pickles else ""
        raise ModelFolderError(
            path,
            f"model.safetensors is missing{found}",
            "save the weights with safetensors.torch.save_file(module.state_dict(), path)",
        )
    return contents


def _read(file: Path) -> bytes:
    """The content. Raises OSError, and ModelFolderError for pipes, devices and files of an absurd size."""
    found = file.stat()
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        # A pipe would be waited for, a device may have no end.
        raise ModelFolderError(file, "is no regular file", "make it a readable file")
    with file.open("rb") as opened:
        if file.suffix != ".safetensors":
            if found.st_size > _MOST_BYTES:
                raise ModelFolderError(
                    file,
                    f"is {found.st_size} bytes long, and may be {_MOST_BYTES}",
                    "put the right file there",
                )
            return opened.read()
        try:
            check_file_size(opened, found.st_size)
        except WeightsError as error:
            raise ModelFolderError(file, str(error), error.remedy) from error
        opened.seek(0)
        return opened.read()
