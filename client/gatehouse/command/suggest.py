"""`gatehouse suggest`: the next word, once, for each line of a pipe, or while one types."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from gatehouse.command.count import Count
from gatehouse.command.failure import Failure, failures_told
from gatehouse.command.files import InputFile
from gatehouse.command.rows import is_unicode
from gatehouse.command.target import target_option

if TYPE_CHECKING:
    from gatehouse.client import Client
    from gatehouse.results import Suggestions

_ANSWER_TIMEOUT_SECONDS = 3.0


@click.command()
@click.argument("text", required=False)
@click.option("-k", "k", type=Count(), default=3, show_default=True, help="How many words.")
@click.option(
    "--session", metavar="ID", help="The session to use; made when there is none. Default: a new one."
)
@click.option("--model", metavar="NAME", help="The model. Default: the server's keyboard.")
@click.option("--exclude", metavar="WORD", multiple=True, help="A word never to suggest. May be given again.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, one object a line, with log-probabilities."
)
@target_option
def suggest(
    text: str | None,
    k: int,
    session: str | None,
    model: str | None,
    exclude: tuple[str, ...],
    as_json: bool,
    target: str,
) -> None:
    """Suggest the next word after TEXT, or the rest of its unfinished last word.

    Without TEXT on a terminal, suggestions appear while you type. Without TEXT in a pipe, each line in gives
    one line out: the words, best first, separated by tabs.
    """
    if text is None and sys.stdin.isatty():
        if as_json:
            raise Failure('--json needs a text or a pipe: gatehouse suggest --json "how are you"')
        from gatehouse.command.interactive import type_along

        with failures_told(target):
            type_along(target, k=k, session=session, model=model, exclude=exclude)
        return

    from gatehouse.client import Client

    def ask(client: Client, line: str) -> Suggestions:
        answer = client.suggest(line, session=session, model=model, k=k, exclude=exclude)
        print(_as_json(answer) if as_json else "\t".join(answer.words), flush=True)
        return answer

    with failures_told(target), Client(target, timeout_seconds=_ANSWER_TIMEOUT_SECONDS) as client:
        if text is not None:
            answer = ask(client, text)
            # Whoever reads JSON learns the session's name and may go on with it; nobody else can.
            if session is None and not as_json:
                client.delete_session(answer.session)
            return
        source = InputFile("-", "txt", standard_input_format="txt")
        for number, line in enumerate(source.lines(), start=1):
            if not is_unicode(line):
                raise Failure(f"{source.name}, line {number}: not valid UTF-8; convert it first")
            answer = ask(client, line.rstrip("\r\n"))
            # A line is a text of its own. In one session a line that begins as the last one ended would be
            # taken for its continuation.
            if session is None:
                client.delete_session(answer.session)


def _as_json(answer: Suggestions) -> str:
    return json.dumps(
        {
            "session": answer.session,
            "suggestions": [
                {"text": suggestion.text, "log_probability": suggestion.log_probability}
                for suggestion in answer.suggestions
            ],
            "prefix": answer.prefix,
            "rebuilt": answer.rebuilt,
            "position": answer.state.position,
            "revision": answer.state.revision,
            "computed_steps": answer.computed_steps,
            "queue_seconds": answer.timing.queue_seconds,
            "compute_seconds": answer.timing.compute_seconds,
        },
        ensure_ascii=False,
    )
