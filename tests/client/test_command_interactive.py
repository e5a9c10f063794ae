"""The line that one types on, without a terminal."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from gatehouse import errors
from gatehouse.aio import Client
from gatehouse.command.interactive import TypingLine
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from tests.client.fake_server import FakeServer


@pytest.fixture(autouse=True)
def terminal() -> Iterator[None]:
    """A terminal that shows nothing."""
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        yield


@pytest.fixture
async def client(server: FakeServer) -> AsyncIterator[Client]:
    """A client of the fake server."""
    async with Client(server.target, timeout_seconds=3) as client:
        yield client


def _line(server: FakeServer) -> TypingLine:
    return TypingLine(server.target, k=3, session=None, model=None, exclude=())


@pytest.mark.parametrize(
    ("typed", "index", "expected"),
    [
        ("how a", 0, "how are "),
        ("how a", 1, "how am "),
        ("how ", 0, "how are "),
        ("", 0, "how "),
        ("how a", 7, "how a"),
    ],
)
async def test_a_word_completes_or_follows(
    server: FakeServer, client: Client, typed: str, index: int, expected: str
) -> None:
    """Accepting replaces the unfinished word, or adds one, with a space behind; a number too high does nothing."""
    line = _line(server)
    line.buffer.insert_text(typed)
    await line.ask(client, typed)
    line.accept(index)
    assert line.buffer.text == expected


async def test_an_answer_for_older_text_is_not_accepted(server: FakeServer, client: Client) -> None:
    """Typing on makes the suggestions shown stale; accepting one then does nothing."""
    line = _line(server)
    line.buffer.insert_text("how a")
    await line.ask(client, "how a")
    line.buffer.insert_text("m")
    line.accept(0)
    assert line.buffer.text == "how am"


async def test_the_line_says_when_the_server_is_gone_and_back(server: FakeServer, client: Client) -> None:
    """While the server does not answer the line says so; with the next answer it says that it is back."""
    line = _line(server)
    await line.ask(client, "how a")
    assert [word for word in _shown(line) if word in ("are", "am")] == ["are", "am"]
    server.stop()
    with pytest.raises(errors.UnavailableError):
        await line.ask(client, "how ar")
    assert "server gone, reconnecting ..." in _shown(line)
    assert "are" not in _shown(line)
    server.start()
    await line.ask(client, "how ar")
    assert "back" in _shown(line)
    await line.ask(client, "how are")
    assert "back" not in _shown(line)


async def test_bytes_that_are_no_text_are_pointed_out(server: FakeServer, client: Client) -> None:
    """A byte typed that is not UTF-8 is told, and not sent; without it the suggestions are back."""
    line = _line(server)
    await line.ask(client, "how a")
    await line.ask(client, "how \udce9")
    assert "not valid UTF-8" in _shown(line)
    assert "are" not in _shown(line)
    await line.ask(client, "how a")
    assert "are" in _shown(line)
    assert "not valid UTF-8" not in _shown(line)


def _shown(line: TypingLine) -> list[str]:
    return [fragment[1] for fragment in line.under_the_line()]
