"""Where the results of a call go: the port between a flow of documents and the kinds of calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from gatehouse_server.transport.result_teller import Result

ResultT_co = TypeVar("ResultT_co", bound=Result, covariant=True)


class ResultDesk(Protocol[ResultT_co]):
    """Where a call's results go."""

    @property
    def unwritten_bytes(self) -> int:
        """About how much was put here that the connection has not taken yet."""

    def has_room(self) -> bool:
        """Whether another document may be taken."""

    async def room(self, is_room: Callable[[], bool]) -> None:
        """Waits until there is room."""

    def place(self, number: int, size_bytes: int) -> ResultT_co:
        """The result that the answer to a document goes into, now."""

    def place_apart(self, number: int, size_bytes: int) -> tuple[ResultT_co, Callable[[], None]]:
        """The same for an answer that takes some time to be put into words; and what to call when it is done."""

    def flushed(self) -> None:
        """Some results were filled."""
