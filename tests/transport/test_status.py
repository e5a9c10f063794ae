"""Exceptions become statuses in one place, with details that programs can read."""

import ast
from collections.abc import Iterator
from pathlib import Path

import gatehouse_server
import grpc
import pytest
import structlog
from gatehouse_server import errors
from gatehouse_server.errors import FieldViolation, GatehouseError, InvalidInput, Overloaded, StateBehind
from gatehouse_server.transport.status import CODES, code_of, fill_status
from google.rpc import error_details_pb2, status_pb2

from tests.transport.stage import detail, fields_of, reason_of


def filled(error: BaseException, path: str = "") -> status_pb2.Status:
    """The status for an exception."""
    status = status_pb2.Status()
    fill_status(status, error, path=path)
    return status


def descendants(kind: type[GatehouseError]) -> Iterator[type[GatehouseError]]:
    """All classes below one."""
    for child in kind.__subclasses__():
        yield child
        yield from descendants(child)


def test_every_exception_has_a_code() -> None:
    """No class of the tree falls through to INTERNAL."""
    own = {kind for kind in descendants(GatehouseError) if kind.__module__ == errors.__name__}
    assert own == set(CODES)


def test_a_class_below_another_has_its_code() -> None:
    """What the wire adds to the tree is answered as its parent is."""
    error = InvalidInput("x", reason="PART_OUT_OF_ORDER")
    assert code_of(error) is CODES[InvalidInput] is grpc.StatusCode.INVALID_ARGUMENT


def test_one_file_names_codes() -> None:
    """Nothing else in the server says which code an error has."""
    root = Path(gatehouse_server.__file__).parent
    naming = set()
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = (isinstance(node, ast.Attribute) and node.attr == "StatusCode") or (
                isinstance(node, ast.alias) and node.name in ("StatusCode", "code_pb2")
            )
            if named:
                naming.add(path.relative_to(root).as_posix())
    # OpenTelemetry has a class of the same name: how a span ended.
    assert naming - {"telemetry/otel_traces.py"} == {"transport/status.py"}


def test_a_status_tells_reason_domain_and_facts() -> None:
    """ErrorInfo carries what a program needs to go on."""
    status = filled(StateBehind("behind", metadata={"revision": "4", "position": "9"}))
    info = detail(status, error_details_pb2.ErrorInfo)
    assert status.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
    assert (info.reason, info.domain) == ("STATE_BEHIND", "gatehouse.dev")
    assert dict(info.metadata) == {"revision": "4", "position": "9"}


def test_fields_are_told_with_their_path() -> None:
    """The path of the operation in its message stands before the field."""
    error = InvalidInput("two", violations=(FieldViolation(field="at", description="d"),) * 2)
    assert fields_of(filled(error, "operations[3].write.")) == ["operations[3].write.at"] * 2


def test_overload_tells_when_to_try_again() -> None:
    """RetryInfo has the delay."""
    status = filled(Overloaded("full", reason="QUEUE_FULL", retry_after_seconds=1.5))
    assert detail(status, error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() == 1500


def test_an_unknown_exception_is_logged_and_hidden() -> None:
    """The client sees an id and nothing of the text; the log has both, with the traceback."""
    with structlog.testing.capture_logs() as logs:
        status = filled(ZeroDivisionError("a secret"))
    assert status.code == grpc.StatusCode.INTERNAL.value[0]
    assert "secret" not in str(status)
    correlation_id = detail(status, error_details_pb2.ErrorInfo).metadata["correlation_id"]
    assert correlation_id in status.message
    assert reason_of(status) == "INTERNAL"
    assert logs[0]["correlation_id"] == correlation_id
    assert isinstance(logs[0]["exc_info"], ZeroDivisionError)


def test_a_failure_that_many_are_told_of_is_logged_once() -> None:
    """A tick that fails ends the operations of hundreds: one traceback, and all of them get its id."""
    failure = ZeroDivisionError("a secret")
    with structlog.testing.capture_logs() as logs:
        told = {
            detail(filled(failure), error_details_pb2.ErrorInfo).metadata["correlation_id"] for _ in range(3)
        }
    assert [line["correlation_id"] for line in logs] == list(told)


def test_a_status_fits_into_trailers() -> None:
    """Peers refuse trailers beyond 8 KiB: long texts are cut, and only some of many fields are told."""
    violations = tuple(FieldViolation(field=f"f{index}", description="d" * 5000) for index in range(100))
    status = filled(InvalidInput("é" * 5000, violations=violations, metadata={"fact": "x" * 5000}))
    assert len(status.SerializeToString()) + 3 * len(status.message.encode()) < 8192


@pytest.mark.parametrize("kind", sorted(descendants(GatehouseError), key=str))
def test_every_reason_is_documented(kind: type[GatehouseError]) -> None:
    """docs/errors.md has a row for each reason, with its code."""
    page = (Path(__file__).parents[2] / "docs" / "errors.md").read_text(encoding="utf-8")
    code = next(CODES[parent] for parent in kind.__mro__ if parent in CODES)
    for reason in kind.reasons:
        rows = [line for line in page.splitlines() if line.startswith(f"| `{reason}` |")]
        assert len(rows) == 1, f"docs/errors.md has {len(rows)} rows for {reason}"
        assert f"| {code.name} |" in rows[0]
