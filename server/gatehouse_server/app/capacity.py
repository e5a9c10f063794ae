"""What the server has room for, and how much of it is used: for the metrics."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from gatehouse_server.app.composition import Built
from gatehouse_server.settings import Settings
from gatehouse_server.telemetry.server_metrics import Capacity


def capacity_of(settings: Settings, built: Built, device: str) -> Capacity:
    """Limits from the settings; use is asked of the parts when somebody looks, from any thread."""

    def device_memory() -> Mapping[str, int]:
        if device != "cuda":
            return {}
        try:
            free, total = torch.cuda.mem_get_info()
        except RuntimeError:  # a device that is lost answers nothing any more; all else is still to be told
            return {}
        return {"allocated": torch.cuda.memory_allocated(), "free": free, "total": total}

    return Capacity(
        queue=settings.max_queued_operations,
        live_sessions=settings.max_live_sessions,
        resident_sessions=settings.max_resident_sessions,
        sessions=settings.max_sessions,
        rows=built.sessions.rows_in_use,
        device_memory=device_memory,
    )
