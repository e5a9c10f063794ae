"""The client for asyncio: the same names as `gatehouse`, to be awaited."""

from gatehouse.aio.client import Client
from gatehouse.aio.session import Session
from gatehouse.aio.stream import Stream

__all__ = ["Client", "Session", "Stream"]
