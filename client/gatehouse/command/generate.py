"""`gatehouse generate`: how a text might go on, as the server makes it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from gatehouse.command.count import Count
from gatehouse.command.failure import Failure, failures_told
from gatehouse.command.target import target_option

if TYPE_CHECKING:
    from gatehouse.generated import GeneratedStep
    from gatehouse.generation import Generation

_TIMEOUT_SECONDS = 60.0


@click.command()
@click.argument("text", required=False)
@click.option("--model", metavar="NAME", help="The model. Default: keyboard, or the session's.")
@click.option("--session", metavar="ID", help="Go on from this session, which stays where it is.")
@click.option("--max-steps", type=Count(), help="How many tokens at most. Default: 32.")
@click.option("--alternatives", type=Count(), default=1, show_default=True, help="How many continuations.")
@click.option(
    "--temperature",
    type=click.FloatRange(min=0),
    help="Draw tokens: below 1 more often likely ones, above 1 more often others. Default: the likeliest each time.",
)
@click.option("--top-k", type=Count(), help="Draw from so many likeliest tokens.")
@click.option(
    "--top-p",
    type=click.FloatRange(min=0, max=1, min_open=True),
    help="Draw from the likeliest tokens that together have this probability.",
)
@click.option(
    "--seed", type=click.IntRange(min=0, max=2**64 - 1), help="Draw the same tokens again each time."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, one object for each continuation, with its tokens."
)
@target_option
def generate(
    text: str | None,
    model: str | None,
    session: str | None,
    max_steps: int | None,
    alternatives: int,
    temperature: float | None,
    top_k: int | None,
    top_p: float | None,
    seed: int | None,
    as_json: bool,
    target: str,
) -> None:
    """Continue TEXT, or begin a text without it.

    The text appears as it is made. Several continuations have a line each, once all are there when the output is not
    a terminal.
    """
    is_drawn = any(option is not None for option in (temperature, top_k, top_p, seed)) and temperature != 0
    if alternatives > 1 and not is_drawn:
        raise Failure(
            f"{alternatives} continuations that take the likeliest token each time would be the same. "
            "Draw them: --temperature 0.8"
        )

    from gatehouse.client import Client

    with failures_told(target), Client(target, timeout_seconds=_TIMEOUT_SECONDS) as client:
        generation = client.generate(
            text or None,
            model=model or (None if session else "keyboard"),
            session=session,
            max_steps=max_steps,
            alternatives=alternatives,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
        )
        with generation:
            if as_json:
                _print_json(generation, alternatives)
            elif alternatives == 1:
                _print_along(generation, text or "")
            else:
                _print_lines(generation, text or "")


def _print_along(generation: Generation, text: str) -> None:
    """One continuation, behind its text, as it comes."""
    begun = False
    try:
        for step in generation:
            click.echo(step.text if begun else text + step.text, nl=False)
            begun = True
            sys.stdout.flush()
    finally:
        if begun:
            click.echo()
    if not begun:
        click.echo(text)


def _print_lines(generation: Generation, text: str) -> None:
    """Several continuations, a line each."""
    with _lines_shown(text) as show:
        for _ in generation:
            show(generation.texts)
    for continuation in generation.texts:
        click.echo(text + continuation)


@contextmanager
def _lines_shown(text: str) -> Iterator[Callable[[tuple[str, ...]], None]]:
    """Shows continuations while they grow, on a terminal; what was shown is gone at the end."""
    if not sys.stdout.isatty():
        yield lambda _: None
        return
    from rich.live import Live
    from rich.text import Text

    with Live(transient=True, refresh_per_second=30) as live:

        def show(continuations: tuple[str, ...]) -> None:
            lines = [Text.assemble((text, "dim"), continuation) for continuation in continuations]
            live.update(Text("\n").join(lines))

        yield show


def _print_json(generation: Generation, alternatives: int) -> None:
    steps: list[list[GeneratedStep]] = [[] for _ in range(alternatives)]
    for step in generation:
        steps[step.alternative].append(step)
    for end in generation.ends:
        click.echo(
            json.dumps(
                {
                    "alternative": end.alternative,
                    "text": generation.texts[end.alternative],
                    "reason": end.reason,
                    "log_probability": end.log_probability,
                    "tokens": [
                        {"id": step.token_id, "text": step.text, "log_probability": step.log_probability}
                        for step in steps[end.alternative]
                    ],
                },
                ensure_ascii=False,
            )
        )
