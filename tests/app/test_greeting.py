"""What the server says when it is up."""

import pytest
import structlog
from gatehouse_server.app.greeting import greet
from gatehouse_server.settings import Settings

STAGES = {"models": 1.25, "engine": 0.5}


def test_the_log_has_every_address_and_who_reaches_it() -> None:
    """One event, for machines."""
    with structlog.testing.capture_logs() as logs:
        greet(
            Settings(host="0.0.0.0", http_host="::"),
            grpc_port=1,
            admin_port=2,
            http_port=3,
            start_seconds={"models": 1.25, "engine": 0.5},
        )
    (event,) = logs
    assert (event["grpc"], event["admin"], event["http"]) == ("0.0.0.0:1", "127.0.0.1:2", "[::]:3")
    assert "other machines" in event["reachable_from"]
    assert "loopback" in event["admin_reachable_from"]
    assert (event["started_in_seconds"], event["start_seconds"]) == (1.75, {"models": 1.25, "engine": 0.5})


@pytest.mark.parametrize(
    ("ports", "told"),
    [
        ((50051, 50052), ['suggest "how are you do"\n', "sessions list\n"]),
        ((1, 2), ["--target localhost:1\n", "sessions list --admin-target localhost:2\n"]),
    ],
)
def test_a_person_is_told_what_can_be_typed(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ports: tuple[int, int],
    told: list[str],
) -> None:
    """On a terminal: the ports, and commands that name them only where they have to."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    greet(
        Settings(),
        grpc_port=ports[0],
        admin_port=ports[1],
        http_port=3,
        start_seconds={"models": 1.25, "engine": 0.5},
    )
    text = capsys.readouterr().out
    assert f"for operators on 127.0.0.1:{ports[1]}" in text
    assert [each for each in told if each not in text] == []
