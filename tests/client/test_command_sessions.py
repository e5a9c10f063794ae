"""`gatehouse sessions`."""

from __future__ import annotations

import json

import pytest
from gatehouse.v1 import admin_pb2

from tests.client.commands import json_lines, run
from tests.client.fake_server import FakeServer


@pytest.fixture(autouse=True)
def _sessions(server: FakeServer) -> None:
    """Three sessions, one in each tier."""
    server.admin.add("8a1f", tier=admin_pb2.SESSION_TIER_LIVE)
    server.admin.add("user-7", model="motion@2", tier=admin_pb2.SESSION_TIER_HOST)
    server.admin.add("b" * 128, tier=admin_pb2.SESSION_TIER_STORE, size_bytes=4_100_000)


def test_list_has_a_line_for_each_session_and_a_count(server: FakeServer) -> None:
    """Everything of a session stands on its line; the count goes to standard error."""
    result = run("sessions", "list", admin_target=server.admin_target)
    assert (result.exit_code, result.stderr) == (0, "3 sessions\n")
    first, second, third = result.stdout.splitlines()
    assert first.split()[:9] == [
        "8a1f",
        "keyboard@1",
        "live",
        "position",
        "1,234",
        *["revision", "40", "durable", "39"],
    ]
    assert first.endswith("3,000 bytes")
    assert "expires in " in first
    assert second.split()[:3] == ["user-7", "motion@2", "host"]
    assert third.split()[:3] == ["b" * 128, "keyboard@1", "store"]
    assert third.endswith("4,100,000 bytes")


def test_list_of_a_model(server: FakeServer) -> None:
    """`--model` takes a name or a version; one session is one session, none is no failure."""
    result = run("sessions", "list", "--model", "motion", admin_target=server.admin_target)
    assert (result.stdout.split()[0], result.stderr) == ("user-7", "1 session\n")
    result = run("sessions", "list", "--model", "motion@1", admin_target=server.admin_target)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "0 sessions\n")


def test_list_as_json_is_an_object_a_line(server: FakeServer) -> None:
    """So that a million can be read as they come."""
    result = run("sessions", "list", "--json", admin_target=server.admin_target)
    first, second, third = json_lines(result.stdout)
    assert first == {
        "session": "8a1f",
        "model": "keyboard@1",
        "tier": "live",
        "position": 1234,
        "revision": 40,
        "durable_revision": 39,
        "incarnation": 2,
        "expire_time": "2096-10-02T07:06:40+00:00",
        "size_bytes": 3000,
    }
    assert [second["tier"], third["tier"]] == ["host", "store"]


def test_what_was_listed_before_a_failure_is_printed(server: FakeServer) -> None:
    """The store is down: what is in memory stands there, no count pretends to be complete, the exit code is 2."""
    server.admin.pages_before_failure = 1
    result = run("sessions", "list", admin_target=server.admin_target)
    assert result.exit_code == 2
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["8a1f", "user-7"]
    assert (
        result.stderr == f"Error: {server.admin_target} cannot do that now: no store. Try again in a moment\n"
    )


def test_show_tells_all_about_one(server: FakeServer) -> None:
    """One fact a line, or one object."""
    result = run("sessions", "show", "user-7", admin_target=server.admin_target)
    facts = {line[:12].strip(): line[13:] for line in result.stdout.splitlines()}
    assert facts["session"] == "user-7"
    assert facts["model"] == "motion@2"
    assert facts["tier"] == "host: packed in the server's memory"
    assert (facts["position"], facts["revision"], facts["durable"]) == ("1,234", "40", "39")
    assert facts["size"] == "3,000 bytes"
    shown = json.loads(run("sessions", "show", "user-7", "--json", admin_target=server.admin_target).stdout)
    assert (shown["session"], shown["tier"]) == ("user-7", "host")


def test_delete_ends_the_session_and_says_so(server: FakeServer) -> None:
    """It asks nothing; the exit code is 0."""
    result = run("sessions", "delete", "user-7", admin_target=server.admin_target)
    assert (result.exit_code, result.stdout) == (0, "session user-7 has ended, and its tape is erased\n")
    assert server.admin.evicted == ["user-7"]


@pytest.mark.parametrize("command", ["show", "delete"])
def test_a_session_that_is_not_there_is_one_line(server: FakeServer, command: str) -> None:
    """The server's own words, exit code 2, and nothing on standard output."""
    result = run("sessions", command, "nobody", admin_target=server.admin_target)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "Error: there is no session 'nobody'\n"


@pytest.mark.parametrize("arguments", [("list",), ("show", "a"), ("delete", "a")])
def test_a_server_that_is_not_there_is_told_with_the_right_option(arguments: tuple[str, ...]) -> None:
    """The port for operators has an option of its own."""
    result = run("sessions", *arguments, admin_target="127.0.0.1:1")
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: cannot reach 127.0.0.1:1. Start it with `make serve`, or pass --admin-target\n"
    )


def test_the_port_for_users_is_not_mistaken_for_it(server: FakeServer) -> None:
    """It does not answer these calls; the line says what to look at."""
    result = run("sessions", "list", "--admin-target", server.target)
    assert result.exit_code == 2
    assert result.stderr.endswith("Is it another server or port?\n")


def test_a_target_that_is_none_is_told() -> None:
    """With an example of its own kind."""
    result = run("sessions", "list", "--admin-target", "localhost")
    assert result.exit_code == 2
    assert "as localhost:50052" in result.stderr
