"""A line of the table of targets, and causes that several of them share."""

from __future__ import annotations

from dataclasses import dataclass

MESSAGES = (
    "One step in a message: gRPC for Python costs more than the step. The same messages to a server that computes "
    "nothing are the column `echo, streams`; many sessions on one stream are the way out."
)
ONE_CORE = "Client, event loop and engine share two cores, and the engine has one of them at best."


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A line of the table. `met` is None where nothing was measured; `cause` counts only where it is False."""

    what: str
    target: str
    measured: str
    met: bool | None
    cause: str = ""
