"""What a person reads about a model: a line in a list, or a page."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator

from gatehouse.command.parameter_rows import parameter_rows
from gatehouse.models import Model, RecurrentLayer

_KEY_WIDTH = 12
_WIDTH = 110


def line(model: Model) -> str:
    """One line about a model."""
    if not model.ready:
        return f"{model.full_name:<20} failed: {model.failure}"
    kind = model.task.replace("_", " ") + (", online" if model.online else "")
    size = f"{model.parameter_count:,} parameters"
    return f"{model.full_name:<20} {kind:<24} {_cells(model):<38} {size:>22}  {model.description}".rstrip()


def page(model: Model) -> Iterator[str]:
    """The lines of a page: facts, then the parameters, then what a step and a session cost."""
    yield from _aligned(_facts(model))
    if not model.ready:
        return
    yield ""
    yield from parameter_rows(model)
    yield ""
    yield from _aligned(_costs(model))


def _aligned(facts: Iterable[tuple[str, str]]) -> Iterator[str]:
    told = list(facts)
    width = max(_KEY_WIDTH, *(len(key) for key, _ in told))
    for key, value in told:
        yield from textwrap.wrap(
            value,
            width=_WIDTH,
            initial_indent=f"{key:<{width}} ",
            subsequent_indent=" " * (width + 1),
            break_long_words=False,
            break_on_hyphens=False,
        )


def _facts(model: Model) -> Iterator[tuple[str, str]]:
    yield "model", model.full_name
    if not model.ready:
        yield "status", f"failed: {model.failure}"
        return
    if model.description:
        yield "what it is", model.description
    yield (
        "task",
        model.task.replace("_", " ") + (", runs sessions" if model.online else ", whole documents only"),
    )
    yield "input", _input(model)
    numbers: Counter[str] = Counter()
    for layer in model.recurrent_layers:
        yield f"{layer.part} layer {numbers[layer.part]}".strip(), _layer(layer)
        numbers[layer.part] += 1
    if model.pooling:
        yield "pooling", ", ".join(model.pooling)
    if model.initial_size:
        yield "begins", f"in the state that a vector of {model.initial_size} values sets, if one is given"
    if model.labels:
        yield "labels", ", ".join(model.labels)
    yield "arithmetic", model.arithmetic + (", answers reproducible to the bit" if model.reproducible else "")
    yield "fingerprint", model.fingerprint


def _costs(model: Model) -> Iterator[tuple[str, str]]:
    yield (
        "a step",
        ("read, and one written: " if model.task == "transducer" else "")
        + f"{_thousands(model.step_flops)}FLOP in matrix products, {_bytes(model.step_bytes)} of weights read",
    )
    if model.online:
        yield (
            "a session",
            f"{_bytes(model.state_bytes)} of state; {_bytes(model.session_bytes)} while it is live, with earlier "
            "states and a tape of 50 steps",
        )
    yield "the model", f"{_bytes(model.memory_bytes)} of memory, loaded in {model.load_seconds:.2f} s"


def _cells(model: Model) -> str:
    if len({(each.cell, each.hidden_size, each.projection_size) for each in model.recurrent_layers}) > 1:
        return ", ".join(
            f"{each.part} {each.cell} {each.hidden_size}".lstrip() for each in model.recurrent_layers
        )
    size = f"{model.layers} x {model.hidden_size}"
    projection = f", projected to {model.projection_size}" if model.projection_size else ""
    directions = f", both directions ({model.merge})" if model.bidirectional else ""
    return f"{model.cell} {size}{projection}{directions}"


def _layer(layer: RecurrentLayer) -> str:
    told = [f"{layer.cell}, {layer.input_size} to {layer.hidden_size}"]
    if layer.projection_size:
        told.append(f"projected to {layer.projection_size}")
    told += layer.options
    if layer.direction == "both":
        told.append(f"both directions ({layer.merge}: {layer.output_size})")
    elif layer.direction == "reverse":
        told.append("from the end to the beginning")
    return ", ".join(told)


def _input(model: Model) -> str:
    if model.tokens is not None:
        words = f"tokens, {model.tokens.vocabulary_size:,} in the vocabulary"
        return words + (", from text" if model.tokens.accepts_text else "")
    if model.features is not None:
        names = f": {', '.join(model.features.names)}" if model.features.names else ""
        return f"{model.features.size} features{names}"
    return ""


def _bytes(count: int) -> str:
    return f"{_thousands(count)}B" if count >= 10_000 else f"{count:,} bytes"


def _thousands(count: int) -> str:
    for factor, prefix in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= factor:
            return f"{count / factor:.3g} {prefix}"
    return f"{count} "
