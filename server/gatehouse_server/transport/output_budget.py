"""How much of results a call may have about at once: they can be large where something is told of every step."""

from __future__ import annotations

from typing import Protocol

from gatehouse_server.errors import InvalidInput
from gatehouse_server.transport.documents import EncodedDocument


class Unwritten(Protocol):
    """Where results wait for the connection."""

    @property
    def unwritten_bytes(self) -> int:
        """About how much it has not taken yet."""


class OutputBudget:
    """`most_in_flight_bytes` bounds results that are computed or wait to be written. `most_together_bytes` bounds all
    results of the call, where they have to fit into one message.
    """

    def __init__(
        self, desk: Unwritten, *, most_in_flight_bytes: int, most_together_bytes: int | None = None
    ) -> None:
        self._desk = desk
        self._most_in_flight_bytes = most_in_flight_bytes
        self._left_bytes = most_together_bytes
        self._owed_bytes = 0

    def admitted(self, document: EncodedDocument | InvalidInput) -> EncodedDocument | InvalidInput:
        """The document, or why its result has no place beside the others."""
        if self._left_bytes is None or isinstance(document, InvalidInput):
            return document
        if document.result_bytes > self._left_bytes:
            return _no_place()
        self._left_bytes -= document.result_bytes
        return document

    def told(self, document: EncodedDocument, size_bytes: int) -> None:
        """The result is about to be told, and takes so much. Raises InvalidInput when it has no place beside the others
        after all, because of its activations.
        """
        if self._left_bytes is None:
            return
        more_bytes = size_bytes - document.result_bytes
        if more_bytes > self._left_bytes:
            raise _no_place()
        self._left_bytes -= more_bytes

    def has_room_for(self, size_bytes: int) -> bool:
        """Whether another result of this size may come about; one always may."""
        waiting_bytes = self._owed_bytes + self._desk.unwritten_bytes
        return not waiting_bytes or waiting_bytes + size_bytes <= self._most_in_flight_bytes

    def owe(self, size_bytes: int) -> None:
        """A result of this size comes about."""
        self._owed_bytes += size_bytes

    def settle(self, size_bytes: int) -> None:
        """It is there."""
        self._owed_bytes -= size_bytes


def _no_place() -> InvalidInput:
    return InvalidInput(
        "the results of this call would not fit into one message. Send fewer documents at once, or use ClassifyStream",
        reason="OUTPUTS_TOO_LARGE",
    )
