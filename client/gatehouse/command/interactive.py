"""`gatehouse suggest` on a terminal: suggestions under the line as one types."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from prompt_toolkit.application import Application
from prompt_toolkit.application.run_in_terminal import run_in_terminal
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import BufferControl, FormattedTextControl, HSplit, Layout, Window
from prompt_toolkit.layout.processors import BeforeInput

from gatehouse.aio.client import Client
from gatehouse.command.rows import is_unicode
from gatehouse.errors import DeadlineExceededError, GatehouseError, UnavailableError
from gatehouse.results import Suggestions

_PROMPT = "> "
_HINT = "Tab takes the first word, Alt-1 to Alt-9 any; Enter begins a new line; Ctrl-D leaves"
_ANSWER_TIMEOUT_SECONDS = 3.0
_RECONNECT_PAUSE_SECONDS = 0.3
_PARTING_SECONDS = 1.0
_CLOSES_UP = frozenset(".,;:!?")


def type_along(
    target: str, *, k: int, session: str | None, model: str | None, exclude: tuple[str, ...]
) -> None:
    """Runs until the user leaves. KeyboardInterrupt on Ctrl-C."""
    asyncio.run(TypingLine(target, k=k, session=session, model=model, exclude=exclude).run())


class TypingLine:
    """One line of text, and under it what is likeliest to follow."""

    def __init__(
        self, target: str, *, k: int, session: str | None, model: str | None, exclude: tuple[str, ...]
    ) -> None:
        self._target = target
        self._k = k
        self._session = session
        self._owns_session = session is None
        self._model = model
        self._exclude = exclude
        self._answer: Suggestions | None = None
        self._answered_text: str | None = None
        self._latency_seconds: float | None = None
        self._notice = ""
        self._gone = False
        self._changed = asyncio.Event()
        self.buffer = Buffer(
            multiline=False,
            on_text_changed=lambda _: self._changed.set(),
            on_cursor_position_changed=lambda _: self._changed.set(),
        )
        self._application: Application[None] = Application(
            layout=Layout(
                HSplit(
                    [
                        Window(
                            BufferControl(self.buffer, input_processors=[BeforeInput(_PROMPT)]),
                            wrap_lines=True,
                            dont_extend_height=True,
                        ),
                        Window(FormattedTextControl(self.under_the_line), height=1),
                    ]
                )
            ),
            key_bindings=self._keys(),
            erase_when_done=True,
        )

    async def run(self) -> None:
        """Types along until the user leaves; then the session that was made for it is deleted."""
        print(_HINT)
        async with Client(self._target, timeout_seconds=_ANSWER_TIMEOUT_SECONDS) as client:
            # The first answer comes before the line appears, so that a wrong target ends here, with one line.
            await self.ask(client, "")
            follower = asyncio.create_task(self._follow(client))
            try:
                await self._application.run_async()
            finally:
                follower.cancel()
                await asyncio.wait((follower,))
                await self._leave(client)

    async def _follow(self, client: Client) -> None:
        """Asks for the text as it stands, once more whenever it has changed meanwhile."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self.ask(client, self.buffer.document.text_before_cursor)
            except (UnavailableError, DeadlineExceededError):
                self._application.invalidate()
                await asyncio.sleep(_RECONNECT_PAUSE_SECONDS)
                self._changed.set()
            except GatehouseError as error:
                self._answer, self._notice = None, error.message
            self._application.invalidate()

    async def ask(self, client: Client, text: str) -> None:
        """Asks what follows a text, and shows it or that the server is gone. Bytes that are no text are not asked."""
        if not is_unicode(text):
            self._answer, self._notice = None, "not valid UTF-8"
            return
        started = time.perf_counter()
        try:
            self._answer = await client.suggest(
                text, session=self._session, model=self._model, k=self._k, exclude=self._exclude
            )
        except (UnavailableError, DeadlineExceededError):
            self._gone, self._notice = True, "server gone, reconnecting ..."
            raise
        # The first answer after a failure took as long as the connection, which says nothing of the server.
        self._latency_seconds = None if self._gone else time.perf_counter() - started
        self._answered_text = text
        self._session = self._answer.session
        self._notice = "back" if self._gone else ""
        self._gone = False

    async def _leave(self, client: Client) -> None:
        if self._owns_session and self._session is not None:
            # When the server is gone or has forgotten it: an idle session ends by itself.
            with suppress(GatehouseError):
                await client.delete_session(self._session, timeout_seconds=_PARTING_SECONDS)

    def under_the_line(self) -> StyleAndTextTuples:
        """The suggestions with their numbers, the latency, and what else there is to say."""
        parts: StyleAndTextTuples = [("", " " * len(_PROMPT))]
        if self._answer is not None and not self._gone:
            for number, word in enumerate(self._answer.words, start=1):
                parts += [("fg:ansibrightblack", f"{number} "), ("bold", word), ("", "   ")]
            if self._latency_seconds is not None:
                parts.append(("fg:ansibrightblack", f"{self._latency_seconds * 1e3:.1f} ms   "))
        parts.append(("fg:ansiyellow", self._notice))
        return parts

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("tab")
        def _first(event: KeyPressEvent) -> None:
            self.accept(0)

        for number in range(1, 10):

            @keys.add("escape", str(number))
            def _any(event: KeyPressEvent, index: int = number - 1) -> None:
                self.accept(index)

        @keys.add("enter")
        def _new_line(event: KeyPressEvent) -> None:
            line = self.buffer.text
            run_in_terminal(lambda: print(_PROMPT + line))
            self.buffer.reset()

        @keys.add("c-c")
        def _interrupt(event: KeyPressEvent) -> None:
            event.app.exit(exception=KeyboardInterrupt())

        @keys.add("c-d")
        def _leave(event: KeyPressEvent) -> None:
            event.app.exit()

        return keys

    def accept(self, index: int) -> None:
        """Completes or appends a suggested word, unless the text has moved on since it was suggested."""
        text = self.buffer.document.text_before_cursor
        if self._answer is None or text != self._answered_text or index >= len(self._answer.suggestions):
            return
        word = self._answer.words[index]
        if self._answer.prefix and text.endswith(self._answer.prefix):
            self.buffer.delete_before_cursor(len(self._answer.prefix))
        elif word in _CLOSES_UP and text.endswith(" "):
            self.buffer.delete_before_cursor(1)
        elif text and not text.endswith(" ") and word not in _CLOSES_UP:
            word = " " + word
        self.buffer.insert_text(word + " ")
