"""What calls with documents need of the server, and how much each of them may take."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from dataclasses import dataclass, field

from gatehouse_server.engine.loop import Engine
from gatehouse_server.engine.observer import Observer
from gatehouse_server.telemetry.request_metrics import RequestMetrics


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentLimits:
    """Bounds of a document, of its result and of the search for one; and of how many a call may have under way, and how
    much of results, before it is read from no further.
    """

    max_document_steps: int = 100_000
    max_document_bytes: int = 4 * 1024 * 1024
    max_output_bytes: int = 8 * 1024 * 1024
    max_output_steps: int = 512
    max_beam_size: int = 32
    max_in_flight: int = 256
    max_output_bytes_in_flight: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What every call needs of the server. `executor` is where texts are tokenized; whoever holds `scribe` puts a large
    result into words, one at a time in the whole server.
    """

    engine: Engine
    observer: Observer
    metrics: RequestMetrics
    executor: Executor
    limits: DocumentLimits
    scribe: asyncio.Lock = field(default_factory=asyncio.Lock)
