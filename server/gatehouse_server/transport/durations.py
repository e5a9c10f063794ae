"""Seconds as protobuf's Duration and Timestamp, and back."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from gatehouse_server.errors import InvalidInput

_NANOS = 1_000_000_000


def fill_duration(duration: Duration, seconds: float) -> None:
    """Writes a span of at least 0 seconds. Protobuf's own converters cost several times as much."""
    nanos = int(seconds * _NANOS + 0.5)
    if 0 < nanos < _NANOS:
        duration.nanos = nanos
    elif nanos > 0:
        duration.seconds, duration.nanos = divmod(nanos, _NANOS)
    else:
        duration.SetInParent()


def fill_timestamp(timestamp: Timestamp, seconds: float) -> None:
    """Writes a moment, in seconds since 1970."""
    whole = int(seconds)
    timestamp.seconds = whole
    timestamp.nanos = int((seconds - whole) * _NANOS)


def positive_seconds(duration: Duration, field: str) -> float:
    """The seconds of a duration that has to be positive. Raises InvalidInput."""
    seconds = duration.seconds + duration.nanos / _NANOS
    if not seconds > 0:
        raise InvalidInput.of_field(field, f"expected more than 0 seconds, got {seconds:g}")
    return seconds
