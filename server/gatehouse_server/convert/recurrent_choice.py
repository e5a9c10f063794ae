"""Which of the recurrent modules of a torch state dict is served, or which of them upon each other."""

import re
from collections.abc import Iterable
from itertools import pairwise

from gatehouse_server.convert.port import ConversionError
from gatehouse_server.convert.recurrent_modules import RecurrentModule


def choose_recurrent(modules: tuple[RecurrentModule, ...], wanted: str | None) -> tuple[RecurrentModule, ...]:
    """The modules to serve, the lowest first: those that `wanted` names, the only one, or a stack that is numbered.

    Raises ConversionError where it can't be told.
    """
    names = ", ".join(
        f"{module.name} ({module.cell} {module.input_size} to {module.output_size})" for module in modules
    )
    if wanted is not None:
        chosen = tuple(_named(modules, name.strip(), names) for name in wanted.split(","))
        _check_chain(chosen)
        return chosen
    if len(modules) == 1:
        return modules
    numbered = len({re.sub(r"\d+", "#", module.prefix) for module in modules}) == 1
    if numbered and _first_break(modules) is None:
        return modules
    raise ConversionError(
        f"holds several recurrent modules: {names}",
        "choose one with --recurrent NAME, or several that read each other's outputs with --recurrent LOWER,UPPER",
    )


def _named(modules: Iterable[RecurrentModule], name: str, names: str) -> RecurrentModule:
    for module in modules:
        if name.rstrip(".") in (module.name, module.prefix.rstrip(".")):
            return module
    raise ConversionError(
        f"--recurrent {name}: there is no recurrent module of that name", f"there are {names}"
    )


def _check_chain(modules: tuple[RecurrentModule, ...]) -> None:
    stop = _first_break(modules)
    if stop is not None:
        below, above = stop
        raise ConversionError(
            f"--recurrent: {above.name} reads {above.input_size} values, {below.name} hands on {below.output_size}",
            "name them the lowest first",
        )


def _first_break(modules: tuple[RecurrentModule, ...]) -> tuple[RecurrentModule, RecurrentModule] | None:
    for below, above in pairwise(modules):
        if below.output_size != above.input_size:
            return below, above
    return None
