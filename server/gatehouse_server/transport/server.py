"""The gRPC server: services, options, port."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import grpc.aio
from gatehouse.v1 import model_pb2, model_pb2_grpc, offline_pb2, offline_pb2_grpc, online_pb2, online_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from gatehouse_server.transport.health import Health
from gatehouse_server.transport.interceptor import CallInterceptor
from gatehouse_server.transport.models import ModelServicer
from gatehouse_server.transport.offline import OfflineServicer
from gatehouse_server.transport.online import OnlineServicer

MAX_MESSAGE_BYTES = 16 * 1024 * 1024

SERVICES = tuple(
    file.services_by_name[name].full_name
    for file, name in (
        (online_pb2.DESCRIPTOR, "OnlineService"),
        (offline_pb2.DESCRIPTOR, "OfflineService"),
        (model_pb2.DESCRIPTOR, "ModelService"),
    )
)

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
class Servicers:
    """What answers the calls."""

    online: OnlineServicer
    offline: OfflineServicer
    models: ModelServicer
    health: Health


def build_server(servicers: Servicers, interceptor: CallInterceptor) -> grpc.aio.Server:
    """A server without a port. Has to be called on the event loop that it will run on."""
    interceptors: Sequence[grpc.aio.ServerInterceptor] = (interceptor,)
    server = grpc.aio.server(interceptors=interceptors, options=OPTIONS)
    online_pb2_grpc.add_OnlineServiceServicer_to_server(servicers.online, server)
    offline_pb2_grpc.add_OfflineServiceServicer_to_server(servicers.offline, server)
    model_pb2_grpc.add_ModelServiceServicer_to_server(servicers.models, server)
    health_pb2_grpc.add_HealthServicer_to_server(servicers.health.servicer, server)
    names = (*SERVICES, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
    return server


def bind(server: grpc.aio.Server, host: str, port: int) -> int:
    """Listens on `host:port` and returns the port; 0 asks for a free one. Raises PortUnavailableError."""
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        bound = server.add_insecure_port(address)
    except RuntimeError as error:
        raise PortUnavailableError(f"cannot listen on {address}") from error
    if not bound:
        raise PortUnavailableError(f"cannot listen on {address}")
    return bound
