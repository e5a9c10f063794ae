"""`python -m gatehouse_server.app.healthcheck`: asks a server's health over gRPC; exit 0 when it serves, else
1.
"""

from __future__ import annotations

import sys
from typing import Any

import click
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc


@click.command()
@click.option(
    "--target", default="localhost:50051", metavar="HOST:PORT", show_default=True, help="The server."
)
@click.option(
    "--service", default="", metavar="NAME", help="A service or models/NAME; the server when absent."
)
@click.option("--timeout", default=3.0, metavar="SECONDS", show_default=True, help="How long to wait.")
def main(target: str, service: str, timeout: float) -> None:
    """Exit 0 when the server at HOST:PORT serves, 1 when it does not or cannot be reached."""
    with grpc.insecure_channel(target) as channel:
        try:
            stub: Any = health_pb2_grpc.HealthStub(channel)  # its calls are not in the published types
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=timeout)
        except grpc.RpcError as error:
            reason = error.code().name.lower().replace("_", " ")
            click.echo(f"{target}: cannot be reached, or does not know the service ({reason})", err=True)
            sys.exit(1)
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    click.echo(f"{target}: {status.lower()}")
    sys.exit(0 if answer.status == health_pb2.HealthCheckResponse.SERVING else 1)


if __name__ == "__main__":
    main()
