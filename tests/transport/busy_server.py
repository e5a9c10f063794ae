"""What a busy server might tell of itself."""

from gatehouse_server.telemetry.recent import RecentActivity, RecentOperations
from gatehouse_server.transport.server_status import ModelLine, ServerStatus

STATUS = ServerStatus(
    version="1.2.3",
    device="cpu",
    phase="serving",
    serving_since_unix_seconds=1_000_000.5,
    problems={},
    warnings={"state_store": "fails"},
    recent=RecentActivity(
        window_seconds=10.0,
        steps_per_second=1234.5,
        documents_per_second=0.0,
        batch_sessions=3.5,
        batch_documents=0.0,
        operations=(
            RecentOperations(
                operation="write",
                per_second=100.0,
                failed_per_second=1.0,
                p50_seconds=0.002,
                p99_seconds=0.0123,
            ),
        ),
    ),
    queued=7,
    queued_documents=11,
    queue_capacity=16384,
    open_calls=5,
    live_sessions=3,
    live_sessions_capacity=10_000,
    packed_sessions=2,
    stored_sessions=9,
    sessions_capacity=1_000_000,
    session_bytes=4096,
    store_kind="sqlite",
    durability="async",
    unsaved_sessions=1,
    lag_seconds=0.25,
    models=(
        ModelLine(key="keyboard@1", status="leaving", fingerprint="f" * 64, sessions=5, memory_bytes=1000),
        ModelLine(key="broken@1", status="failed", problem="config.json is missing"),
    ),
)
