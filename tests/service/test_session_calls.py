"""Forks, exports, imports and the operators' port, against a real server."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import numpy as np
import pytest
from gatehouse import Client, errors
from gatehouse.operator import Operator
from gatehouse.session import Session
from gatehouse.v1 import online_pb2, online_pb2_grpc

from tests.client.commands import json_lines, run
from tests.service.conftest import Served
from tests.service.failures import failure_in

BAD_IDS = ("a b", "é", "a\tb", "a\0b", "x" * 129, "\u202e", "👩‍👩‍👧")


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[Client]:
    """A client of the server."""
    with Client(served.target) as client:
        yield client


@pytest.fixture(scope="module")
def operator(served: Served) -> Iterator[Operator]:
    """An operator of the server."""
    with Operator(served.admin) as operator:
        yield operator


def distribution(session: Session) -> np.ndarray:
    """The whole output at the end of the tape; asking moves nothing but the revision."""
    vector = session.rewind(to=session.position, vector=True).vector
    assert vector is not None
    return np.asarray(vector).copy()


@pytest.fixture
def source(client: Client) -> Iterator[Session]:
    """A session of five tokens."""
    session = client.session("keyboard")
    session.append(tokens=[2, 3, 4])
    session.append(tokens=[5, 6])
    yield session
    session.delete()


def test_a_fork_continues_like_its_source_and_apart_from_it(client: Client, source: Session) -> None:
    """The same tape gives the same outputs to the bit; then each has a tape of its own."""
    fork = client.fork(source.id)
    assert (fork.position, fork.revision) == (source.position, source.revision)
    np.testing.assert_array_equal(distribution(fork), distribution(source))
    fork.append(tokens=[7])
    assert (fork.position, source.position) == (6, 5)
    assert client.attach(source.id).position == 5
    again = source.append(tokens=[7])
    assert again.position == 6
    np.testing.assert_array_equal(distribution(fork), distribution(source))
    fork.delete()


@pytest.mark.parametrize("at", [0, 1, 3, 5])
def test_a_fork_at_a_position_is_as_if_the_rest_never_was(client: Client, source: Session, at: int) -> None:
    """Equal to a session that only ever had the tokens up to there."""
    fork = client.fork(source.id, at=at)
    plain = client.session("keyboard")
    if at:
        plain.append(tokens=[2, 3, 4, 5, 6][:at])
    assert fork.position == plain.position == at
    np.testing.assert_array_equal(distribution(fork), distribution(plain))
    fork.delete()
    plain.delete()


def test_an_export_goes_on_where_it_stood(client: Client, source: Session) -> None:
    """After its source was deleted, too, and more than once."""
    expected = distribution(source)
    blob = client.export_session(source.id)
    copies = [client.import_session(blob) for _ in range(2)]
    source.append(tokens=[7])
    for copy in copies:
        assert copy.position == 5
        np.testing.assert_array_equal(distribution(copy), expected)
        assert copy.rewind(to=2).position == 2
        copy.delete()


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        (lambda blob: b"garbage", {"EXPORT_MALFORMED"}),
        (lambda blob: blob[:-1], {"EXPORT_ALTERED", "EXPORT_MALFORMED"}),
        (lambda blob: blob[: len(blob) // 2], {"EXPORT_ALTERED", "EXPORT_MALFORMED"}),
        (lambda blob: blob + b"\0", {"EXPORT_ALTERED", "EXPORT_MALFORMED"}),
        (
            lambda blob: (
                blob[: len(blob) // 2] + bytes([blob[len(blob) // 2] ^ 1]) + blob[len(blob) // 2 + 1 :]
            ),
            {"EXPORT_ALTERED"},
        ),
        (lambda blob: b"", {"EXPORT_MALFORMED"}),
    ],
    ids=["garbage", "one byte short", "half", "one byte more", "one bit", "empty"],
)
def test_a_blob_that_is_not_as_it_was_given_makes_no_session(
    client, operator, source, change, reasons
) -> None:
    """A reason each, and no session under the id that was asked for."""
    blob = change(client.export_session(source.id))
    with pytest.raises(errors.InvalidInputError) as caught:
        client.import_session(blob, session_id="never-made")
    assert caught.value.reason in reasons
    with pytest.raises(errors.SessionUnknownError):
        operator.inspect_session("never-made")


def test_nothing_is_made_onto_an_id_that_is_taken(client: Client, source: Session) -> None:
    """Neither by fork nor by import, and what is there stays as it is."""
    blob = client.export_session(source.id)
    other = client.session("keyboard")
    for make in (
        lambda: client.fork(source.id, session_id=other.id),
        lambda: client.fork(source.id, session_id=source.id),
        lambda: client.import_session(blob, session_id=other.id),
    ):
        with pytest.raises(errors.SessionExistsError):
            make()
    assert other.refresh().position == 0
    other.delete()


def test_what_is_not_there_is_not_found(client: Client, operator: Operator, source: Session) -> None:
    """Never made, or deleted: the reason tells."""
    gone = client.fork(source.id)
    gone.delete()
    for session_id, kind in (("nobody", errors.SessionUnknownError), (gone.id, errors.SessionDeletedError)):
        for call in (client.fork, client.export_session, operator.inspect_session, operator.evict_session):
            with pytest.raises(kind):
                call(session_id)


@pytest.mark.parametrize("session_id", BAD_IDS, ids=ascii)
def test_an_odd_identifier_is_refused_everywhere(client, operator, source, session_id) -> None:
    """By name of the field."""
    blob = client.export_session(source.id)
    for call, field in (
        (lambda: client.fork(session_id), "session_id"),
        (lambda: client.fork(source.id, session_id=session_id), "new_session_id"),
        (lambda: client.export_session(session_id), "session_id"),
        (lambda: client.import_session(blob, session_id=session_id), "session_id"),
        (lambda: client.delete_session(session_id), "session_id"),
        (lambda: operator.inspect_session(session_id), "session_id"),
        (lambda: operator.evict_session(session_id), "session_id"),
    ):
        with pytest.raises(errors.InvalidInputError) as caught:
            call()
        assert [violation.field for violation in caught.value.violations] == [field]


@pytest.mark.parametrize("at", [-1, -(2**63), 6, 2**63 - 1])
def test_a_fork_at_a_position_that_is_none_is_refused(client: Client, source: Session, at: int) -> None:
    """Negative, or beyond the end."""
    with pytest.raises(errors.InvalidInputError) as caught:
        client.fork(source.id, at=at)
    assert caught.value.reason == "POSITION_OUT_OF_RANGE"
    assert [violation.field for violation in caught.value.violations] == ["at"]


def test_a_repeated_request_is_answered_as_the_first_one_was(
    channel, source: Session, client: Client
) -> None:
    """Fork, import and delete happen once for a request id."""
    stub = online_pb2_grpc.OnlineServiceStub(channel)
    fork = online_pb2.ForkSessionRequest(session_id=source.id, request_id="fork-once")
    made = {stub.ForkSession(fork).session.session_id for _ in range(3)}
    assert len(made) == 1
    blob = client.export_session(source.id)
    moved = online_pb2.ImportSessionRequest(blob=blob, request_id="import-once")
    made |= {stub.ImportSession(moved).session.session_id for _ in range(3)}
    assert len(made) == 2
    for number, session_id in enumerate(made):
        deletion = online_pb2.DeleteSessionRequest(session_id=session_id, request_id=f"delete-{number}")
        for _ in range(3):
            stub.DeleteSession(deletion)
    for session_id in made:
        with pytest.raises(grpc.RpcError) as caught:
            stub.DeleteSession(online_pb2.DeleteSessionRequest(session_id=session_id))
        assert failure_in(caught.value).reason == "SESSION_DELETED"


def test_an_operator_sees_every_session_and_nothing_of_its_tape(
    client: Client, operator: Operator, source: Session
) -> None:
    """Model, tier, where it stands, and how much it takes; `model` chooses."""
    other = client.session("motion", session_id="an-athlete")
    lines = {line.session: line for line in operator.list_sessions()}
    assert {source.id, other.id} <= set(lines)
    line = lines[source.id]
    assert (line.model, line.tier) == ("keyboard@1", "live")
    assert (line.state.position, line.state.revision, line.state.durable_revision) == (5, 2, 0)
    assert line.state.incarnation == source.state.incarnation
    assert line.size_bytes > 0
    shown = operator.inspect_session(source.id)
    assert (shown.session, shown.state.position) == (line.session, 5)
    assert "an-athlete" in {each.session for each in operator.list_sessions(model="motion")}
    assert source.id not in {each.session for each in operator.list_sessions(model="motion@1")}
    assert list(operator.list_sessions(model="nobody")) == []
    other.delete()


def test_a_session_that_an_operator_ended_tells_its_user_so(client: Client, operator: Operator) -> None:
    """Writes, forks and looks get SESSION_EVICTED; evicting again is fine."""
    session = client.session("keyboard")
    session.append(tokens=[2])
    operator.evict_session(session.id)
    operator.evict_session(session.id)
    for call in (
        lambda: session.append(tokens=[3]),
        lambda: client.fork(session.id),
        lambda: client.attach(session.id),
        lambda: client.export_session(session.id),
    ):
        with pytest.raises(errors.SessionEvictedError):
            call()
    assert session.id not in {line.session for line in operator.list_sessions()}


def test_the_command_line_does_the_same(client: Client, served: Served) -> None:
    """`gatehouse sessions` lists, shows and deletes what a user made."""
    session = client.session("keyboard", session_id="seen-from-a-shell")
    session.append(tokens=[2, 3])
    listed = run("sessions", "list", "--json", admin_target=served.admin)
    assert listed.exit_code == 0
    (line,) = (each for each in json_lines(listed.stdout) if each["session"] == "seen-from-a-shell")
    assert (line["position"], line["revision"]) == (2, 1)
    shown = run("sessions", "show", "seen-from-a-shell", admin_target=served.admin)
    assert "keyboard@1" in shown.stdout
    assert run("sessions", "delete", "seen-from-a-shell", admin_target=served.admin).exit_code == 0
    gone = run("sessions", "show", "seen-from-a-shell", admin_target=served.admin)
    assert (gone.exit_code, len(gone.stderr.splitlines())) == (2, 1)
