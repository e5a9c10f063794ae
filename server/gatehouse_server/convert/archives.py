"""Zip archives from elsewhere: what they would unpack to is looked at before anything is unpacked."""

import zipfile
from pathlib import Path

from gatehouse_server.convert.port import ConversionError

LARGEST_BYTES = 16 * 2**30
"""More parameters than this are no recurrent network that one machine serves."""
_FREE_BYTES = 64 * 2**20
_MOST_TIMES = 64
_MOST_ENTRIES = 100_000


def is_zip(path: Path) -> bool:
    """Whether the file begins as zip archives do."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def archive_names(path: Path) -> tuple[str, ...]:
    """The names in a zip archive that is whole, and does not unpack to many times its size. Raises ConversionError.

    Sizes are what the archive declares, so that nothing may be unpacked beyond them: see `read_entry`. Of other methods
    than these two Python unpacks as much as there is.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ConversionError(f"{path}: is no whole zip archive ({error})", "copy it again") from error
    size_bytes = path.stat().st_size
    unpacked_bytes = sum(entry.file_size for entry in entries)
    if (
        unpacked_bytes > min(LARGEST_BYTES, _FREE_BYTES + _MOST_TIMES * size_bytes)
        or len(entries) > _MOST_ENTRIES
    ):
        raise ConversionError(
            f"{path}: {size_bytes:,} bytes that would unpack to {unpacked_bytes:,} in {len(entries):,} files",
            "save the weights again, uncompressed",
        )
    for entry in entries:
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ConversionError(
                f"{path}: {entry.filename} is packed in an unusual way",
                "save the weights again, uncompressed",
            )
    return tuple(entry.filename for entry in entries)


def read_entry(archive: zipfile.ZipFile, name: str) -> bytes:
    """The entry, unpacked up to the size that it declares; `ZipFile.read` first unpacks all that there is. Raises what
    that raises.
    """
    with archive.open(name) as entry:
        return entry.read(archive.getinfo(name).file_size)
