"""`gatehouse` that ends as soon as it is asked to, with what it has not stored and not answered.

A soak must fail on it (`python -m benchmarks.soak --break-drain`). The product has no such switch; this module patches
it from outside.
"""

from __future__ import annotations

import os

from gatehouse.command.main import main
from gatehouse_server.app.failure import EXIT_SOMETHING_LOST
from gatehouse_server.app.run import Gatehouse


async def leave_at_once(gatehouse: Gatehouse) -> bool:
    """In place of `Gatehouse.drain`."""
    os._exit(EXIT_SOMETHING_LOST)


if __name__ == "__main__":
    setattr(Gatehouse, "drain", leave_at_once)  # noqa: B010 - mypy would not take a plain assignment
    main()
