"""What a live session takes, before there is one."""

from __future__ import annotations

from typing import Final

from gatehouse_server.sessions.hosted_model import FEATURE_CHECKPOINT_STEPS, TOKEN_CHECKPOINT_STEPS

TAPE_STEPS: Final = 50
"""The tape of a session as docs/capacity.md measures it."""

_VALUE_BYTES = 4
_OBJECT_BYTES = 5_300
"""What Python takes for a session, its tape and its recent writes: measured for docs/capacity.md."""


def live_session_bytes(*, state_bytes: int, feature_size: int | None, recent_writes: int) -> int:
    """Bytes of memory of a session in the state table, with `TAPE_STEPS` steps, of which it wrote the last ones singly.

    It holds its present state and one before each of the `recent_writes` that it can repeat, the states kept along the
    tape, and the tape: tokens, or vectors of `feature_size`.
    """
    tokens = feature_size is None
    kept = TAPE_STEPS // (TOKEN_CHECKPOINT_STEPS if tokens else FEATURE_CHECKPOINT_STEPS)
    step_bytes = _VALUE_BYTES * (1 if feature_size is None else feature_size)
    return (1 + recent_writes + kept) * state_bytes + TAPE_STEPS * step_bytes + _OBJECT_BYTES
