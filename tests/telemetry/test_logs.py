"""Logs: a JSON object per line for machines, readable lines for people, and nothing of what users wrote."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any, Literal

import pytest
import structlog
from gatehouse_server.telemetry.logs import configure_logs


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Logging is the process's: put it back as it was."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    yield
    root.handlers[:], root.level = before
    structlog.reset_defaults()


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def logged(stream: io.StringIO, log_format: Literal["auto", "json", "text"] = "auto") -> str:
    """What one line of each kind of logger looks like."""
    configure_logs(log_format=log_format, stream=stream)
    structlog.get_logger().info("model loaded", model="keyboard@1")
    structlog.get_logger().debug("too fine")
    logging.getLogger("somebody.else").warning("careful")
    return stream.getvalue()


def test_a_machine_gets_json() -> None:
    """Level, time and facts in each line; lines of libraries have the same form; finer levels are left out."""
    lines: list[dict[str, Any]] = [json.loads(line) for line in logged(io.StringIO()).splitlines()]
    assert [(line["event"], line["level"]) for line in lines] == [
        ("model loaded", "info"),
        ("careful", "warning"),
    ]
    assert lines[0]["model"] == "keyboard@1"
    assert lines[0]["timestamp"].endswith("Z")


def test_a_terminal_gets_text() -> None:
    """Unless told otherwise."""
    assert not logged(Terminal()).startswith("{")
    assert logged(Terminal(), "json").startswith("{")
    assert not logged(io.StringIO(), "text").startswith("{")


def test_a_traceback_has_no_local_variables() -> None:
    """They would bring what users wrote into the log."""
    stream = io.StringIO()
    configure_logs(log_format="json", stream=stream)
    text = "how are" + " you"
    try:
        raise ValueError(len(text))
    except ValueError as error:
        structlog.get_logger().error("internal error", exc_info=error)
    line = json.loads(stream.getvalue())
    assert "ValueError: 11" in line["exception"]
    assert "how are you" not in stream.getvalue()


def test_configuring_twice_logs_once() -> None:
    """A second server in one process does not double the lines."""
    configure_logs(stream=io.StringIO())
    assert len(logged(io.StringIO()).splitlines()) == 2
