"""The type of options that say how many."""

from __future__ import annotations

from typing import Any

import click

_MOST = 2**31 - 1


class Count(click.IntRange):
    """A whole number from 1 on. What servers take of it they say themselves, of all that fits into a message."""

    def __init__(self) -> None:
        super().__init__(min=1)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number. BadParameter when it is none, or too large to be sent."""
        count: int = super().convert(value, param, ctx)
        if count > _MOST:
            self.fail(f"{count} is more than can be asked for; the most is {_MOST}.", param, ctx)
        return count
