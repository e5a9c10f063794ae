"""All sources, and which of them reads a file."""

from pathlib import Path
from typing import Final

from gatehouse_server.convert.keras_source import KerasSource
from gatehouse_server.convert.mapping_source import MappingSource
from gatehouse_server.convert.onnx_source import OnnxSource
from gatehouse_server.convert.port import ConversionError, Source, SourceOptions
from gatehouse_server.convert.torch_source import TorchSource

SOURCES: Final[tuple[Source, ...]] = (KerasSource(), OnnxSource(), TorchSource(), MappingSource())
"""The first that detects a file reads it, unless there is a mapping file."""


def source_of(path: Path, options: SourceOptions) -> Source:
    """Raises ConversionError for what is not there, or of no format that any source reads."""
    if not path.exists():
        raise ConversionError(f"{path}: there is no such file or folder", "name the model to convert")
    if options.mapping is not None:
        return MappingSource()
    try:
        for source in SOURCES:
            if source.detect(path):
                return source
    except OSError as error:
        raise ConversionError(f"{path}: cannot be read ({error.strerror})", "make it readable") from error
    known = ", ".join(source.name for source in SOURCES)
    raise ConversionError(
        f"{path}: is of no known format ({known})", "see docs/converting.md for what can be read"
    )
