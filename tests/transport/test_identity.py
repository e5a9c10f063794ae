"""Clients are told apart by what a proxy says of them, or by their connections."""

from gatehouse_server.transport.identity import client_of


class Call:
    """Stands for gRPC's context."""

    def __init__(self, *metadata: tuple[str, str | bytes]) -> None:
        self._metadata = metadata

    def peer(self) -> str:
        return "ipv4:10.0.0.1:4000"

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        return self._metadata


def test_a_call_without_the_header_belongs_to_its_connection() -> None:
    """Other headers say nothing."""
    assert client_of(Call()) == client_of(Call(("user-agent", "x"))) == "ipv4:10.0.0.1:4000"


def test_a_proxy_can_name_the_client() -> None:
    """Then calls over one connection are told apart."""
    assert client_of(Call(("user-agent", "x"), ("gatehouse-client", "team-a"))) == "team-a"
