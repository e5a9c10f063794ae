"""The two gRPC servers, for users and for operators: services, options, port."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import grpc.aio
from gatehouse.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    model_pb2,
    model_pb2_grpc,
    offline_pb2,
    offline_pb2_grpc,
    online_pb2,
    online_pb2_grpc,
)
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from gatehouse_server.transport.admin import AdminServicer
from gatehouse_server.transport.health import Health
from gatehouse_server.transport.interceptor import CallInterceptor
from gatehouse_server.transport.message_size import MAX_MESSAGE_BYTES
from gatehouse_server.transport.models import ModelServicer
from gatehouse_server.transport.offline import OfflineServicer
from gatehouse_server.transport.online import OnlineServicer

SERVICES = tuple(
    file.services_by_name[name].full_name
    for file, name in (
        (online_pb2.DESCRIPTOR, "OnlineService"),
        (offline_pb2.DESCRIPTOR, "OfflineService"),
        (model_pb2.DESCRIPTOR, "ModelService"),
    )
)

ADMIN_SERVICES = (admin_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name,)

OPTIONS: tuple[tuple[str, int], ...] = (
    # Large enough that ten megabytes of text get an answer of ours, which says what is allowed.
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # Two servers on one port would share its connections in silence.
    ("grpc.so_reuseport", 0),
    # Clients may ask every ten seconds whether the connection lives, with and without calls on it.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # A connection whose other end vanished is noticed within a minute and a half.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # What a slow reader leaves unread is held by us, and bounded, instead of by megabytes of buffers: without
    # these, gRPC takes in 4 to 6 MB per stream before anybody is stopped.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 64 * 1024),
    ("grpc.http2.write_buffer_size", 16 * 1024),
)


class PortUnavailableError(Exception):
    """The port cannot be listened on. `str` is one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionAge:
    """A connection older than `seconds`, give or take a tenth, is asked to end (GOAWAY); calls on it may go on for
    `grace_seconds`.
    """

    seconds: float
    grace_seconds: float

    @property
    def options(self) -> Sequence[tuple[str, int]]:
        """For `grpc.aio.server`."""
        return (
            ("grpc.max_connection_age_ms", max(1, round(self.seconds * 1000))),
            ("grpc.max_connection_age_grace_ms", round(self.grace_seconds * 1000)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Servicers:
    """What answers the calls of users."""

    online: OnlineServicer
    offline: OfflineServicer
    models: ModelServicer
    health: Health


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminServicers:
    """What answers the calls of operators."""

    admin: AdminServicer
    health: Health


def build_server(
    servicers: Servicers, interceptor: CallInterceptor, age: ConnectionAge | None = None
) -> grpc.aio.Server:
    """The users' server, without a port. Has to be called on the event loop that it will run on.

    Connections are kept for ever without an `age`.
    """
    server = _server(SERVICES, servicers.health, interceptor, () if age is None else age.options)
    online_pb2_grpc.add_OnlineServiceServicer_to_server(servicers.online, server)
    offline_pb2_grpc.add_OfflineServiceServicer_to_server(servicers.offline, server)
    model_pb2_grpc.add_ModelServiceServicer_to_server(servicers.models, server)
    return server


def build_admin_server(servicers: AdminServicers, interceptor: CallInterceptor) -> grpc.aio.Server:
    """The operators' server, likewise."""
    server = _server(ADMIN_SERVICES, servicers.health, interceptor)
    admin_pb2_grpc.add_AdminServiceServicer_to_server(servicers.admin, server)
    return server


def _server(
    services: Sequence[str],
    health: Health,
    interceptor: CallInterceptor,
    options: Sequence[tuple[str, int]] = (),
) -> grpc.aio.Server:
    """A server with health and reflection; `services` are still to be added."""
    interceptors: Sequence[grpc.aio.ServerInterceptor] = (interceptor,)
    server = grpc.aio.server(interceptors=interceptors, options=(*OPTIONS, *options))
    health_pb2_grpc.add_HealthServicer_to_server(health.servicer, server)
    names = (*services, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
    return server


def address_of(host: str, port: int) -> str:
    """As it is written, an address of IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bind(server: grpc.aio.Server, host: str, port: int) -> int:
    """Listens on `host:port` and returns the port; 0 asks for a free one. Raises PortUnavailableError."""
    address = address_of(host, port)
    try:
        bound = server.add_insecure_port(address)
    except RuntimeError as error:
        raise PortUnavailableError(f"cannot listen on {address}") from error
    if not bound:
        raise PortUnavailableError(f"cannot listen on {address}")
    return bound
