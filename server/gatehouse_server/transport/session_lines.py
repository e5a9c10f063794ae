"""What operators are told of sessions, from plain objects to protobuf."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gatehouse.v1 import admin_pb2

from gatehouse_server.sessions.results import SessionLine, SessionState, Tier
from gatehouse_server.transport.encoding import fill_state

_TIERS: Mapping[Tier, admin_pb2.SessionTier.ValueType] = MappingProxyType(
    {
        "live": admin_pb2.SESSION_TIER_LIVE,
        "host": admin_pb2.SESSION_TIER_HOST,
        "store": admin_pb2.SESSION_TIER_STORE,
    }
)


def fill_line(message: admin_pb2.SessionLine, line: SessionLine) -> None:
    """A line on one session. How far back it can go is not looked up for a list."""
    message.session_id = line.session_id
    message.model = line.model
    message.tier = _TIERS[line.tier]
    message.size_bytes = line.size_bytes
    fill_state(
        message.state,
        SessionState(
            incarnation=line.incarnation,
            revision=line.revision,
            position=line.position,
            oldest_restorable_position=0,
            durable_revision=line.durable_revision,
            expires_in_seconds=line.expires_in_seconds,
        ),
    )
