"""What an operation waits in line for: the session that it names or makes."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from gatehouse_server.sessions.identifiers import Identifiers
from gatehouse_server.sessions.operations import (
    CloseSequence,
    CreateSession,
    ImportSession,
    ListStored,
    OpenSequences,
    StepSequence,
    Suggest,
)


class Keys:
    """The keys of lines. Used by the engine thread."""

    def __init__(self, identifiers: Identifiers) -> None:
        self._identifiers = identifiers
        self._made: dict[type, Callable[[Any], str]] = {
            CreateSession: self._of_new,
            ImportSession: self._of_new,
            Suggest: self._of_suggestion,
            OpenSequences: lambda operation: operation.session_id or _of_nothing(),
            StepSequence: lambda operation: operation.sequence_id,
            CloseSequence: lambda operation: operation.sequence_id,
            ListStored: lambda operation: _of_nothing(),
        }

    def of(self, operation: Any) -> str:
        """The key of an operation's line. Raises InvalidInput for what cannot be a session's name."""
        make = self._made.get(type(operation))
        key: str = operation.session_id if make is None else make(operation)
        return key

    def _of_new(self, operation: CreateSession | ImportSession) -> str:
        return self._identifiers.new(operation.session_id, operation.request_id)

    def _of_suggestion(self, operation: Suggest) -> str:
        session_id = operation.session_id
        return self._identifiers.new(None, None) if session_id is None else session_id


def _of_nothing() -> str:
    """Of no session, and no session has such an identifier."""
    return f"\0{secrets.token_hex(8)}"
