"""The client of the administrative port."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from gatehouse import errors
from gatehouse.operator import Operator
from gatehouse.v1 import admin_pb2

from tests.client.fake_server import FakeServer
from tests.client.fake_status import refusal


@pytest.fixture
def operator(server: FakeServer) -> Iterator[Operator]:
    """An operator of a server that has five sessions of two models in three tiers."""
    for name, model, tier in (
        ("a", "keyboard@1", admin_pb2.SESSION_TIER_LIVE),
        ("b", "motion@1", admin_pb2.SESSION_TIER_HOST),
        ("c", "keyboard@2", admin_pb2.SESSION_TIER_HOST),
        ("d", "motion@1", admin_pb2.SESSION_TIER_STORE),
        ("e", "keyboard@1", admin_pb2.SESSION_TIER_STORE),
    ):
        server.admin.add(name, model=model, tier=tier)
    with Operator(server.admin_target) as operator:
        yield operator


def test_every_page_of_a_list_arrives(operator: Operator) -> None:
    """In the server's order, one value for each session."""
    lines = list(operator.list_sessions())
    assert [line.session for line in lines] == ["a", "b", "c", "d", "e"]
    assert [line.tier for line in lines] == ["live", "host", "host", "store", "store"]


@pytest.mark.parametrize(
    ("model", "expected"),
    [("keyboard", ["a", "c", "e"]), ("keyboard@1", ["a", "e"]), ("motion", ["b", "d"]), ("nobody", [])],
)
def test_a_model_chooses(operator: Operator, model: str, expected: list[str]) -> None:
    """Pages without a session of the model are passed over."""
    assert [line.session for line in operator.list_sessions(model=model)] == expected


def test_lines_come_before_the_list_is_complete(operator: Operator, server: FakeServer) -> None:
    """The first page can be read while the server still looks for the second; leaving then ends the call."""
    server.admin.stall.clear()
    lines = operator.list_sessions()
    assert [next(lines).session, next(lines).session] == ["a", "b"]
    lines.close()  # type: ignore[attr-defined]  # a generator, here
    server.admin.stall.set()


def test_a_silent_server_is_given_up(operator: Operator, server: FakeServer) -> None:
    """The time is that between two pages, not that of the whole list."""
    server.admin.stall.clear()
    lines = operator.list_sessions(timeout_seconds=0.2)
    assert [next(lines).session, next(lines).session] == ["a", "b"]
    with pytest.raises(errors.DeadlineExceededError):
        next(lines)
    server.admin.stall.set()


def test_a_list_that_breaks_off_says_why(operator: Operator, server: FakeServer) -> None:
    """What was told holds; the failure has its reason."""
    server.admin.pages_before_failure = 1
    seen: list[str] = []
    with pytest.raises(errors.UnavailableError) as caught:
        seen.extend(line.session for line in operator.list_sessions())
    assert (caught.value.reason, seen) == ("STORE_UNAVAILABLE", ["a", "b"])


def test_a_session_is_shown_whole(operator: Operator) -> None:
    """Plain values: model, tier, where it stands, size."""
    line = operator.inspect_session("c")
    assert (line.session, line.model, line.tier, line.size_bytes) == ("c", "keyboard@2", "host", 3000)
    state = line.state
    assert (state.incarnation, state.revision, state.position, state.durable_revision) == (2, 40, 1234, 39)
    assert state.expire_time is not None


def test_a_tier_that_is_not_known_yet_is_no_failure(operator: Operator, server: FakeServer) -> None:
    """A newer server may have more of them."""
    server.admin.add("new", tier=77)
    assert operator.inspect_session("new").tier == "unknown"


def test_evicting_is_done_once_and_may_be_repeated(operator: Operator, server: FakeServer) -> None:
    """A repeat whose first answer got lost finds the session evicted, and that is what was asked for."""
    operator.evict_session("a")
    operator.evict_session("a")
    assert server.admin.evicted == ["a"]


@pytest.mark.parametrize("method", ["inspect_session", "evict_session"])
def test_a_session_that_is_not_there_is_told(operator: Operator, method: str) -> None:
    """With the reason that the server knows."""
    with pytest.raises(errors.SessionUnknownError):
        getattr(operator, method)("nobody")


def test_a_short_absence_of_the_server_is_not_seen(operator: Operator, server: FakeServer) -> None:
    """Showing and evicting are asked again."""
    server.admin.calls_to_refuse = [refusal(grpc.StatusCode.UNAVAILABLE, "restarting") for _ in range(2)]
    assert operator.inspect_session("a").session == "a"


def test_every_call_of_the_port_has_a_method(operator: Operator, server: FakeServer) -> None:
    """Nothing of AdminService is left out."""
    list(operator.list_sessions())
    operator.inspect_session("a")
    operator.evict_session("a")
    operator.load_model("/models/keyboard/2")
    operator.unload_model("keyboard@1")
    operator.reload_models()
    operator.status()
    service = admin_pb2.DESCRIPTOR.services_by_name["AdminService"]
    assert set(server.calls) == {f"AdminService.{method.name}" for method in service.methods}


def test_a_port_for_users_is_told_apart(server: FakeServer) -> None:
    """It does not know the call."""
    with Operator(server.target) as operator, pytest.raises(errors.ServerError) as caught:
        list(operator.list_sessions())
    assert caught.value.reason is None


def test_a_server_that_is_not_there_is_an_unavailable_error() -> None:
    """For the list as for single calls."""
    with Operator("127.0.0.1:1") as operator:
        with pytest.raises(errors.UnavailableError):
            list(operator.list_sessions())
        with pytest.raises(errors.UnavailableError):
            operator.inspect_session("a")
