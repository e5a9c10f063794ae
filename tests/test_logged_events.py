"""The page for operators lists every line that the server can log, and no other."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from gatehouse_server.transport.model_change import CHANGES

ROOT = Path(__file__).parent.parent
SERVER = ROOT / "server" / "gatehouse_server"
LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}


def logged() -> Iterator[tuple[str, str]]:
    """Level and event of each call of a logger in the server's source."""
    for path in SERVER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in LEVELS
                and re.search(r"\b_?log\b|get_logger", ast.unparse(node.func.value))
            ):
                (event, *_) = node.args
                if isinstance(event, ast.Constant):
                    yield node.func.attr, str(event.value)
                else:
                    assert ast.unparse(event) == "f'model {change.change}'", f"{path}: {ast.unparse(event)}"
                    for change in CHANGES:
                        if change != "unchanged":
                            yield node.func.attr, f"model {change}"


def documented() -> set[str]:
    """The events of the table."""
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    section = page.split("\n## Logs\n")[1].split("\n## ")[0]
    rows = [line.split("|")[2] for line in section.splitlines() if line.startswith("| ")]
    return {event for row in rows for event in re.findall(r"`([^`]+)`", row)}


def test_every_event_is_documented() -> None:
    """With what to do about it; and nothing is documented that is never logged."""
    events = {event for _, event in logged()} - {"THE LOG MAY QUOTE WHAT USERS WRITE"}
    assert len(events) > 20
    assert events == documented()


def test_nothing_is_logged_for_developers() -> None:
    """A line is for whoever runs the server, so none is finer than `info`."""
    assert "debug" not in {level for level, _ in logged()}
