"""Settings that do not go together are told before any port opens."""

from typing import Any

import pytest
from gatehouse_server.app.checking import check_settings
from gatehouse_server.app.failure import CannotStartError
from gatehouse_server.app.run import Gatehouse
from gatehouse_server.settings import Settings


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"precision": "float16"}, "--precision float16"),
        ({"tf32": True}, "--tf32"),
        ({"durability": "sync"}, "--durability sync"),
        ({"state_store": "postgres://there"}, "--state-store: 'postgres'"),
        ({"state_store": "sqlite:"}, "--state-store: 'sqlite'"),
        ({"port": 7, "admin_port": 7}, "--port and --admin-port are both 127.0.0.1:7"),
        ({"admin_port": 7, "http_port": 7}, "--admin-port and --http-port"),
    ],
)
def test_what_does_not_go_together_is_one_line(given: dict[str, Any], told: str) -> None:
    """It names the flags."""
    with pytest.raises(CannotStartError) as caught:
        check_settings(Settings(**given), "cpu")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_ports_that_are_chosen_freely_are_never_the_same() -> None:
    """0 is any free one; and two hosts may have one port each."""
    check_settings(Settings(port=0, admin_port=0, http_port=0), "cpu")
    check_settings(Settings(port=7, admin_port=7, admin_host="127.0.0.2"), "cpu")


async def test_nothing_is_opened_or_loaded_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server with such settings ends before its HTTP port opens."""

    def opened(**_: object) -> None:
        raise AssertionError("the HTTP port was opened")

    monkeypatch.setattr("gatehouse_server.app.run.HttpServer", opened)
    with pytest.raises(CannotStartError, match="--durability sync"):
        await Gatehouse(Settings(durability="sync", device="cpu")).start()
