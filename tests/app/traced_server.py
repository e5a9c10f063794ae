"""A server in the test's process, and what it logs."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gatehouse_server.app.run import Gatehouse
from gatehouse_server.settings import Settings


def events(log: io.StringIO) -> list[dict[str, Any]]:
    """The lines of a log."""
    return [json.loads(line) for line in log.getvalue().splitlines()]


@asynccontextmanager
async def serving(models: Path, **settings: Any) -> AsyncIterator[str]:
    """A server in this process; where it listens. Spans have been sent when it has left."""
    server = Gatehouse(
        Settings(models=(models,), embedded_models=False, port=0, admin_port=0, http_port=0, **settings)
    )
    ports = await server.start()
    try:
        yield f"127.0.0.1:{ports.grpc}"
    finally:
        async with asyncio.timeout(40):
            await server.drain()
