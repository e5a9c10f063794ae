"""Latencies as one tells them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

PERCENTILES = {"p50_ms": 50.0, "p95_ms": 95.0, "p99_ms": 99.0, "p99.9_ms": 99.9}


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Percentiles in milliseconds, each a latency that was measured; empty without any."""
    if not seconds:
        return {}
    found = np.percentile(np.array(seconds), list(PERCENTILES.values()), method="higher").tolist()
    return {name: round(1000 * value, 3) for name, value in zip(PERCENTILES, found, strict=True)}
