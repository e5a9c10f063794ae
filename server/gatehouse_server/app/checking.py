"""What is wrong with settings as a whole: found before any port opens or any model is loaded."""

from __future__ import annotations

from gatehouse_server.app.arithmetic import choose_arithmetic
from gatehouse_server.app.failure import CannotStartError
from gatehouse_server.app.storing import check_store
from gatehouse_server.settings import Settings, flag_of

_PORTS = (("host", "port"), ("admin_host", "admin_port"), ("http_host", "http_port"))


def check_settings(settings: Settings, device: str) -> None:
    """Raises CannotStartError when they do not go together, or not with the device, `cpu` or `cuda`."""
    choose_arithmetic(settings, device)
    check_store(settings)
    taken: dict[tuple[str, int], str] = {}
    for host_name, port_name in _PORTS:
        address: tuple[str, int] = getattr(settings, host_name), getattr(settings, port_name)
        if address[1] and address in taken:
            raise CannotStartError(
                f"{taken[address]} and {flag_of(port_name)} are both {address[0]}:{address[1]}. Choose another one"
            )
        taken[address] = flag_of(port_name)
