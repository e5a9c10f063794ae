"""An id for a failure, by which what its clients were told is found in the log.

It stays with the exception: one that ended the work of many is logged once, and all of them are told the same id.
"""

from __future__ import annotations

import secrets

_NAME = "_gatehouse_correlation_id"


def logged_under(failure: BaseException) -> str | None:
    """The id that a failure was logged under; None when it was not."""
    known: object = getattr(failure, _NAME, None)
    return known if isinstance(known, str) else None


def new_correlation_id(failure: BaseException) -> str:
    """An id for a failure that is about to be logged."""
    fresh = secrets.token_hex(8)
    log_under(failure, fresh)
    return fresh


def log_under(failure: BaseException, correlation_id: str) -> None:
    """A failure is told under the id of one like it, which was logged."""
    setattr(failure, _NAME, correlation_id)
