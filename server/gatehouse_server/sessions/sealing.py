"""Exported sessions: a mark, a version, the record, and a seal that only holders of the key can make.

Sealed with BLAKE2b in its keyed mode (RFC 7693, section 2.9), which needs no HMAC around it.
"""

from __future__ import annotations

import hashlib
import hmac

from gatehouse_server.errors import InvalidInput

EXPORT_VERSION = 1

_MARK = b"gatehouse session\0"
_SEAL_BYTES = 32


class Sealer:
    """Seals and opens with one key."""

    def __init__(self, key: bytes) -> None:
        self._key = hashlib.blake2b(key, digest_size=32, person=b"gatehouse export").digest()

    def seal(self, record: bytes) -> bytes:
        """The record, to travel."""
        content = _MARK + bytes([EXPORT_VERSION]) + record
        return content + self._seal_of(content)

    def open(self, blob: bytes) -> bytes:
        """The record. Raises InvalidInput with a reason when it is none, too new, altered or of another key."""
        if not blob.startswith(_MARK) or len(blob) <= len(_MARK) + 1 + _SEAL_BYTES:
            raise InvalidInput.of_field(
                "blob", "this is no exported session, or only a part of one", reason="EXPORT_MALFORMED"
            )
        version = blob[len(_MARK)]
        if version > EXPORT_VERSION:
            raise InvalidInput.of_field(
                "blob",
                f"it was exported in version {version}, and this server reads up to {EXPORT_VERSION}. "
                "Use a newer server",
                reason="EXPORT_TOO_NEW",
            )
        content, seal = blob[:-_SEAL_BYTES], blob[-_SEAL_BYTES:]
        if not hmac.compare_digest(seal, self._seal_of(content)):
            raise InvalidInput.of_field(
                "blob",
                "its seal does not fit: it was altered or cut, or exported by a server with another key "
                "(--export-key)",
                reason="EXPORT_ALTERED",
            )
        return content[len(_MARK) + 1 :]

    def _seal_of(self, content: bytes) -> bytes:
        return hashlib.blake2b(content, digest_size=_SEAL_BYTES, key=self._key).digest()
