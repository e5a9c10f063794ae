"""`gatehouse inspect`: what goes on inside of a model while it reads a text, as one picture or as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gatehouse.command.failure import Failure, failures_told
from gatehouse.command.target import target_option

if TYPE_CHECKING:
    from gatehouse.client import Client
    from gatehouse.command.inside import Inside

_TIMEOUT_SECONDS = 60.0

Drawing = Callable[["Inside", int], bytes]
"""Makes a PNG of so many units of each layer."""


@click.command()
@click.argument("name")
@click.argument("text")
@click.option(
    "--out",
    metavar="FILE.png",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw heat maps of all gates over the words, on one page.",
)
@click.option(
    "--units",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="How many units to draw of each layer, the most active ones.",
)
@click.option("--json", "as_json", is_flag=True, help="Print all values as a JSON object.")
@target_option
def inspect(name: str, text: str, out: Path | None, units: int, as_json: bool, target: str) -> None:
    """Look inside of model NAME while it reads TEXT.

    Gates, candidates and states of each layer, word by word. A model that runs online reads in a session, which is gone
    afterwards; others read a document.
    """
    if out is None and not as_json:
        raise Failure(
            'say where to draw, or ask for numbers: gatehouse inspect keyboard "how are you" --out gates.png'
        )
    draw = None
    if out is not None:
        _check_out(out)
        draw = _drawing()

    from gatehouse.client import Client

    with failures_told(target), Client(target, timeout_seconds=_TIMEOUT_SECONDS) as client:
        inside = _inside(client, name, text)
    if out is not None and draw is not None:
        picture = draw(inside, units)
        try:
            out.write_bytes(picture)
        except OSError as error:
            raise Failure(f"cannot write {out}: {error.strerror or error}") from error
    if as_json:
        print(json.dumps(inside.as_dict(), ensure_ascii=False))


def _check_out(out: Path) -> None:
    """Before anything is computed."""
    if out.suffix.lower() != ".png":
        raise Failure(f"--out is {str(out)!r}, and pictures are PNG: let the name end in .png")
    if not out.parent.is_dir():
        raise Failure(f"--out is {str(out)!r}, and there is no folder {str(out.parent)!r}: make it first")


def _drawing() -> Drawing:
    try:
        from gatehouse.command.heat_maps import drawn
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        raise Failure(
            "drawing needs matplotlib, which is not installed: pip install 'gatehouse[inspect]', or ask for --json"
        ) from error
    return drawn


def _inside(client: Client, name: str, text: str) -> Inside:
    from gatehouse.command.inside import Inside

    model = client.get_model(name)
    key = f"{model.name}@{model.version}"
    if not model.ready:
        raise Failure(f"{key} could not be loaded: {model.failure}")
    if model.tokens is None:
        raise Failure(
            f"{key} takes feature vectors, not text. Look inside from Python: session.append(features=..., "
            "activations=True)"
        )
    if model.online:
        session = client.session(key)
        try:
            result = session.append(text=text, activations=True)
        finally:
            session.delete()
        return Inside(model=key, tokens=result.token_texts, layers=result.activations)
    (document,) = client.classify_batch([("text", text)], model=key, activations=True)
    if document.error is not None:
        raise document.error
    return Inside(model=key, tokens=document.token_texts, layers=document.activations)
