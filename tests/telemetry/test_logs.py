"""Logs: a JSON object per line for machines, readable lines for people, and nothing of what users wrote."""

import asyncio
import io
import json
import logging
import threading
from collections.abc import Iterator
from typing import Any, Literal

import pytest
import structlog
from gatehouse_server.telemetry.escaped import log_escaped
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


class Broken(io.StringIO):
    """A pipe whose reader has gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")

    def flush(self) -> None:
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_log_that_cannot_be_written_stops_nothing(log_format: Literal["json", "text"]) -> None:
    """Least of all a drain, before what is left is stored."""
    assert logged(Broken(), log_format) == ""
    closed = io.StringIO()
    closed.close()
    configure_logs(log_format=log_format, stream=closed)
    structlog.get_logger().info("nobody reads this")


def test_a_terminal_gets_text() -> None:
    """Unless told otherwise."""
    assert not logged(Terminal()).startswith("{")
    assert logged(Terminal(), "json").startswith("{")
    assert not logged(io.StringIO(), "text").startswith("{")


def looked_up(text: str) -> None:
    """Fails as a defect of ours might: the first exception quotes what it was given, the second does not."""
    known: dict[str, int] = {}
    try:
        known[text]
    except KeyError as error:
        raise RuntimeError("the sizes 3 and 4 differ") from error


@pytest.mark.parametrize("log_format", ["json", "text"])
@pytest.mark.parametrize("of_library", [False, True])
def test_a_traceback_has_nothing_of_what_users_wrote(
    log_format: Literal["json", "text"], of_library: bool
) -> None:
    """No local variables, and no message that quotes a value; where it happened, and what torch would say, stays."""
    stream = io.StringIO()
    configure_logs(log_format=log_format, stream=stream)
    text = "how are" + " you"
    try:
        looked_up(text)
    except RuntimeError as error:
        if of_library:
            logging.getLogger("somebody.else").error("failed", exc_info=error)
        else:
            structlog.get_logger().error("internal error", exc_info=error)
    told = stream.getvalue()
    assert "how are you" not in told
    assert "in looked_up" in told
    assert "KeyError: (message kept back" in told
    assert "RuntimeError: the sizes 3 and 4 differ" in told
    assert "direct cause" in told


def test_messages_are_shown_when_asked_for_and_the_log_begins_with_saying_so() -> None:
    """A line that nobody overlooks, before anything else."""
    stream = io.StringIO()
    configure_logs(log_format="json", level="warning", user_text=True, stream=stream)
    try:
        looked_up("how are" + " you")
    except RuntimeError as error:
        structlog.get_logger().error("internal error", exc_info=error)
    first, last = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert (first["event"], first["level"]) == ("THE LOG MAY QUOTE WHAT USERS WRITE", "warning")
    assert "KeyError: 'how are you'" in last["exception"]


def test_a_group_of_exceptions_is_told_one_by_one() -> None:
    """With the same care, and without going in circles."""
    stream = io.StringIO()
    configure_logs(log_format="json", stream=stream)
    first, second = KeyError("how are you"), OSError("no space")
    first.__cause__ = second
    second.__cause__ = first
    structlog.get_logger().error("failed", exc_info=ExceptionGroup("several", [first, second]))
    told = json.loads(stream.getvalue())["exception"]
    assert "OSError: no space" in told
    assert "how are you" not in told


async def test_what_nobody_caught_is_a_line_of_the_log() -> None:
    """Of threads and of tasks, without what Python would print of them. A watched thread has somebody else to tell."""
    stream = io.StringIO()
    configure_logs(log_format="json", stream=stream)
    loop, hook, text = asyncio.get_running_loop(), threading.excepthook, "how are" + " you"
    log_escaped(loop, watched_threads=("watched",))
    try:
        for name in ("watched", "lonely"):
            thread = threading.Thread(target=looked_up, args=(text,), name=name)
            thread.start()
            await asyncio.to_thread(thread.join)
        loop.call_soon(looked_up, text)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    finally:
        threading.excepthook = hook
        loop.set_exception_handler(None)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["a thread failed", "the event loop reports"]
    assert lines[0]["thread"] == "lonely"
    assert "how are you" not in stream.getvalue()


def test_configuring_twice_logs_once() -> None:
    """A second server in one process does not double the lines."""
    configure_logs(stream=io.StringIO())
    assert len(logged(io.StringIO()).splitlines()) == 2
