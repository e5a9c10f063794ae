"""How a command ends: exit codes, and failures in one line that says what happened and what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gatehouse.errors import GatehouseError

ALL_GOOD = 0
SOME_FAILED = 1
COULD_NOT_RUN = 2
"""Also what wrong options and arguments end with."""
TOO_MANY_FAILED = 3
INTERRUPTED = 130
BROKEN_PIPE = 141


class Failure(click.ClickException):
    """The command could not run (or not go on)."""

    exit_code = COULD_NOT_RUN

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class TooManyFailed(Failure):
    """More documents failed than `--max-failures` allows."""

    exit_code = TOO_MANY_FAILED


@contextmanager
def failures_told(target: str, *, flag: str = "--target") -> Iterator[None]:
    """Turns the client's exceptions inside into a `Failure`. `flag` is the option that chose the target."""
    from gatehouse.errors import GatehouseError

    try:
        yield
    except GatehouseError as error:
        raise Failure(sentence(error, target, flag)) from error
    except UnicodeError as error:
        if isinstance(error, UnicodeEncodeError) and error.encoding != "utf-8":
            raise  # it is the output that cannot have it
        raise Failure("the text is not valid UTF-8; convert it first") from error


def sentence(error: GatehouseError, target: str, flag: str = "--target") -> str:
    """What happened and what to type next."""
    from gatehouse import errors

    told = error.message.rstrip(".")
    match error:
        case errors.UnavailableError(reason="DRAINING"):
            return f"{target} is shutting down. Try again when it is back"
        case errors.UnavailableError(reason=None):
            return f"cannot reach {target}. Start it with `make serve`, or pass {flag}"
        case errors.UnavailableError():
            return f"{target} cannot do that now: {told}. Try again in a moment"
        case errors.DeadlineExceededError():
            return f"{target} did not answer in time. Try again, or look at its log"
        case errors.OverloadedError(retry_after_seconds=float(seconds)):
            return f"{target} is overloaded: {told}. Try again in {seconds:.3g} s"
        case errors.ModelNotFoundError():
            return f"{told}. See `gatehouse models list`"
        case errors.ModelFailedError():
            return f"{told}. See `gatehouse models list`"
        case errors.ServerError(reason=None):
            return f"{target} does not answer as Gatehouse does: {told}. Is it another server or port?"
        case errors.ServerError():
            return f"{target} failed: {told}. Its log says more"
        case _:
            return told
