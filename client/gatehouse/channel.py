"""How a channel to the server is set up."""

from __future__ import annotations

import json
from collections.abc import Sequence

# Calls that may be made twice without harm. The other unary ones the client repeats itself, for longer than a retry
# policy can (five attempts), which then must not: its pauses would come on top.
_RETRIED_METHODS = (
    ("gatehouse.v1.OfflineService", "Classify"),
    ("gatehouse.v1.ModelService", "ListModels"),
    ("gatehouse.v1.ModelService", "GetModel"),
    ("gatehouse.v1.AdminService", "InspectSession"),
    ("gatehouse.v1.AdminService", "EvictSession"),
    ("gatehouse.v1.AdminService", "GetStatus"),
)

_SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [{"service": service, "method": method} for service, method in _RETRIED_METHODS],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}

# As much as the server takes and sends; gRPC's own limit, 4 MiB, is less than the export of a long session.
MAX_MESSAGE_BYTES = 16 * 1024 * 1024


def channel_options() -> Sequence[tuple[str, str | int]]:
    """Options for `grpc.insecure_channel` of either interface."""
    return (
        ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
        ("grpc.enable_retries", 1),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        # What is to be repeated is kept until it is answered; gRPC's own limit, 256 KiB, is less than a batch may have.
        ("grpc.per_rpc_retry_buffer_size", MAX_MESSAGE_BYTES),
        # A connection that died silently is noticed within a minute while calls run on it. More often would
        # exceed what servers allow, and they would close the connection for it.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 0),
        # A server that restarts is found again soon; gRPC's own cap is two minutes.
        ("grpc.initial_reconnect_backoff_ms", 100),
        # Named after the pause, it is the least time that a connection has to come about, two round trips and more.
        ("grpc.min_reconnect_backoff_ms", 5_000),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        # Bounded memory when the other side is slow: without these, megabytes are buffered for each stream
        # before a sender is stopped.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", 16 * 1024),
        ("grpc.http2.write_buffer_size", 64 * 1024),
    )
