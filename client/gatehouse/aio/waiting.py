"""Waiting for gRPC in a task that may be cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from gatehouse import failures


@contextmanager
def grpc_failures() -> Iterator[None]:
    """Turns gRPC's exceptions inside into GatehouseErrors, and ends the task with CancelledError when it is cancelled.

    That has to be told from the task itself. gRPC raises CancelledError in a task that nobody cancelled when the call
    was, or the client was closed. And a call that ends in the moment in which its task is cancelled swallows that,
    and raises how it ended instead.
    """
    before = _cancellations()
    try:
        yield
    except grpc.RpcError as error:
        if _cancellations() > before:
            raise asyncio.CancelledError from error
        raise failures.from_rpc_error(error) from error
    except asyncio.CancelledError as error:
        if _cancellations() > before:
            raise
        raise failures.client_closed() from error
    if _cancellations() > before:
        raise asyncio.CancelledError


def _cancellations() -> int:
    """How often somebody has cancelled the current task."""
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0
