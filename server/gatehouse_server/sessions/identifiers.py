"""How sessions are called: as their clients choose, or as the server does."""

from __future__ import annotations

import hashlib
import re
import secrets

from gatehouse_server.errors import FieldViolation, InvalidInput

_CHOSEN = re.compile(r"[!-~]{1,128}")
_BYTES = 16


class Identifiers:
    """`secret` keeps others from knowing what the server calls the session of a request."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def new(self, chosen: str | None, request_id: str | None) -> str:
        """The identifier of a session to be made. Without a chosen one the same request gets the same one.

        Raises InvalidInput for a bad one.
        """
        if chosen is None:
            if request_id is None:
                return secrets.token_hex(_BYTES)
            return hashlib.blake2b(request_id.encode(), key=self._secret, digest_size=_BYTES).hexdigest()
        if not _CHOSEN.fullmatch(chosen):
            raise InvalidInput(
                f"session_id: {chosen[:140]!r} is not 1 to 128 printable ASCII characters without spaces",
                violations=(
                    FieldViolation(
                        field="session_id", description="1 to 128 printable ASCII characters without spaces"
                    ),
                ),
            )
        return chosen
