"""The three forms in which Keras saves whole models, opened: architecture, version and weights.

`.keras` of Keras 3 and tf.keras from 2.12: a zip archive of config.json, metadata.json and model.weights.h5.
`.h5` of Keras 2 and 3: an HDF5 file with the attributes `model_config` and `keras_version`, weights in `model_weights`.

Layouts as keras-team/keras writes them: keras/src/saving/saving_lib.py, keras/src/legacy/saving/legacy_h5_format.py.
"""

import contextlib
import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from gatehouse_server.convert.archives import archive_names, is_zip, read_entry
from gatehouse_server.convert.hdf5 import Hdf5File
from gatehouse_server.convert.keras_weights import KerasWeights, LegacyWeights, PathWeights
from gatehouse_server.convert.port import ConversionError

CONFIG: Final = "config.json"
WEIGHTS: Final = "model.weights.h5"
_METADATA = "metadata.json"
_VERSION = re.compile(r"(\d+)(?:\.\d+)*")
_SAVE = 'save the whole model with model.save("model.keras")'


@dataclass(frozen=True, slots=True, kw_only=True)
class KerasFile:
    """`architecture`: the model's `class_name` and `config`. `version`: of Keras, the first number of it; None where
    the file does not tell.
    """

    architecture: dict[str, Any]
    version: str
    weights: KerasWeights

    @property
    def major(self) -> int | None:
        """2 or 3."""
        found = _VERSION.match(self.version)
        return int(found[1]) if found else None


@contextlib.contextmanager
def open_keras(path: Path) -> Iterator[KerasFile]:
    """Opens `path`, of either form. Raises ConversionError."""
    if is_zip(path):
        config, metadata, weights = _unpacked(path)
        architecture = _parsed(path, config)
        version = str(_parsed(path, metadata).get("keras_version", "")) if metadata else ""
        with Hdf5File(io.BytesIO(weights), f"{path}, {WEIGHTS}") as file:
            yield KerasFile(
                architecture=architecture, version=version, weights=PathWeights(file, _layers(architecture))
            )
        return
    with Hdf5File(path, str(path)) as file:
        told = file.attribute("", "model_config")
        if told is None:
            raise ConversionError(f"{path}: holds weights without the architecture", _SAVE)
        version = (
            file.attribute("", "keras_version") or file.attribute("model_weights", "keras_version") or ""
        )
        yield KerasFile(
            architecture=_parsed(path, str(told)),
            version=str(version),
            weights=LegacyWeights(file, "model_weights"),
        )


def _unpacked(path: Path) -> tuple[bytes, bytes, bytes]:
    names = archive_names(path)
    for name in names:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name.replace("\\", "/")).parts:
            raise ConversionError(f"{path}: has an entry that leads out of the archive ({name})", _SAVE)
    if CONFIG not in names:
        raise ConversionError(f"{path}: has no {CONFIG}, so it is no Keras model", _SAVE)
    if WEIGHTS not in names:
        raise ConversionError(f"{path}: has no {WEIGHTS}", f"{_SAVE}, its weights in one file")
    try:
        with zipfile.ZipFile(path) as archive:
            metadata = read_entry(archive, _METADATA) if _METADATA in names else b""
            return read_entry(archive, CONFIG), metadata, read_entry(archive, WEIGHTS)
    except (
        zipfile.BadZipFile,
        zlib.error,
        OSError,
        ValueError,
        EOFError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise ConversionError(f"{path}: is no whole zip archive ({error})", "copy it again") from error


def _parsed(path: Path, text: str | bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConversionError(f"{path}: its architecture is no JSON ({error})", _SAVE) from error
    if not isinstance(parsed, dict):
        raise ConversionError(f"{path}: its architecture is no JSON object", _SAVE)
    return parsed


def _layers(architecture: dict[str, Any]) -> Any:
    config = architecture.get("config")
    return config.get("layers") if isinstance(config, dict) else config
