"""The pages say what the code has."""

from __future__ import annotations

import re
from pathlib import Path

import click
import gatehouse
import grpc
import pytest
from gatehouse import errors, failures
from gatehouse.command import failure
from gatehouse.command.classify import classify
from gatehouse.command.encode import encode
from gatehouse.command.evaluate import evaluate
from gatehouse.command.generate import generate
from gatehouse.command.inspect import inspect
from gatehouse.command.models import models
from gatehouse.command.predict import predict
from gatehouse.command.score import score
from gatehouse.command.sessions import sessions
from gatehouse.command.status import status
from gatehouse.command.suggest import suggest
from gatehouse.command.tag import tag
from gatehouse.command.transduce import transduce
from gatehouse.operator import Operator
from google.rpc import error_details_pb2, status_pb2

_DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    "command",
    [
        suggest,
        generate,
        classify,
        tag,
        encode,
        score,
        predict,
        transduce,
        evaluate,
        inspect,
        status,
        *models.commands.values(),
        *sessions.commands.values(),
    ],
    ids=lambda command: command.name,
)
def test_every_option_is_documented(command: click.Command) -> None:
    """Each option of each command stands in docs/command-line.md."""
    page = (_DOCS / "command-line.md").read_text()
    options = {name for parameter in command.params for name in parameter.opts if name.startswith("-")}
    assert {option for option in options if f"`{option}" not in page and f" {option}`" not in page} == set()


def test_every_exit_code_is_documented() -> None:
    """The table of exit codes has those of the code and no other."""
    page = (_DOCS / "command-line.md").read_text()
    table = page.split("## Exit codes")[1].split("##")[0]
    documented = {int(line.split("|")[1]) for line in table.splitlines() if line[2:3].isdigit()}
    defined = {value for name, value in vars(failure).items() if name.isupper() and isinstance(value, int)}
    assert documented == defined


def test_every_method_and_exception_is_documented() -> None:
    """Each public method of client and session, and each exception, stands in docs/client.md."""
    page = (_DOCS / "client.md").read_text()
    names = [
        name
        for kind in (*gatehouse.Client.__mro__[:-1], gatehouse.Session, Operator)
        for name in vars(kind)
        if name[0] != "_"
    ]
    assert [name for name in names if name not in page] == []
    exceptions = [name for name in vars(errors) if name.endswith("Error")]
    assert [name for name in exceptions if f"`{name}`" not in page and f".{name}`" not in page] == []


def test_what_the_client_does_in_each_failure_is_what_it_does() -> None:
    """In the table of sessions.md a reason that is said to raise an exception raises that one, and one that is said to
    be repeated is what deliveries repeat.
    """
    page = (_DOCS / "sessions.md").read_text()
    rows = re.findall(r"^\| `([A-Z_]+)` \|[^|]*\| ([^|]*) \|", page, flags=re.MULTILINE)
    assert len(rows) > 20
    for reason, told in rows:
        error = _told(reason)
        for name in re.findall(r"[Rr]aises `(\w+)`", told):
            assert type(error).__name__ == name, reason
        repeats = told.startswith("Repeats")
        assert repeats == isinstance(error, errors.UnavailableError | errors.DeadlineExceededError), reason


def _told(reason: str) -> errors.GatehouseError:
    """What the client raises for a status of the server with this reason."""
    errors_page = (_DOCS / "errors.md").read_text()
    row = re.search(rf"^\| `{reason}` \| ([A-Z_]+) \|", errors_page, flags=re.MULTILINE)
    assert row is not None, f"errors.md has no row for {reason}"
    status = status_pb2.Status(code=grpc.StatusCode[row[1]].value[0], message="no")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason))
    return failures.from_status(status)
