"""Running a whole computation as one call.

Each call of a torch operator from Python takes the interpreter's lock back at its end, and waits for whoever has it:
beside a busy event loop a step of fifty operators waits fifty times. A recording runs all of them in one call that
does not hold the lock. torch calls it a trace (see `torch.jit.trace`): the operators that ran for an example, with the
number of rows left open. They are the same operators, so the results are the same to the bit.

Where torch has no such recorder any more, or cannot record a computation, `record` says so and the computation is run
as it is.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

P = ParamSpec("P")
R = TypeVar("R")


class NotRecordableError(Exception):
    """The computation cannot be recorded here."""


def is_recording() -> bool:
    """Whether what runs now is being recorded."""
    return bool(torch._C._is_tracing())


def with_its_loops(function: Callable[P, R]) -> Callable[P, R]:
    """For functions whose course depends on the number of rows: recordings keep them as they are.

    Otherwise a recording has the course that its example took. The function has to be one that `torch.jit.script`
    understands.
    """
    compiled: list[Callable[P, R]] = []

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if not is_recording():
            return function(*args, **kwargs)
        if not compiled:
            with _quietly():
                compiled.append(torch.jit.script(function))
        return compiled[0](*args, **kwargs)

    return call


def record(computation: Callable[..., Any], example: Sequence[Tensor]) -> Callable[..., Any]:
    """The computation as one call, for inputs like the example's with any number of rows.

    Whatever tensors it uses beside its inputs are part of the recording, and may be written to. Raises
    NotRecordableError.
    """
    used = _tensors_used(computation, example)

    def with_used(*inputs: Tensor) -> Any:
        return computation(*inputs[: len(example)])

    with _quietly() as warned:
        try:
            # What `torch.jit.trace` does, without its registry: functions there are never freed, so that each model
            # loaded anew left its recordings behind. Tensors that are not inputs would become constants, which
            # nobody may write to, so all of them are.
            graph, _ = torch._C._create_graph_by_tracing(
                with_used, (*example, *used), lambda tensor: "", True, False
            )
            recorded = torch._C._create_function_from_graph("recorded", graph)
        except Exception as failure:  # whatever torch cannot do: the caller has another way
            raise NotRecordableError(f"{type(failure).__name__}: {failure}") from failure
    for warning in warned:
        if issubclass(warning.category, torch.jit.TracerWarning):  # type: ignore[attr-defined]  # it is there
            raise NotRecordableError(
                f"it decides by what it computes: {str(warning.message).splitlines()[0]}"
            )

    def call(*inputs: Tensor) -> Any:
        return recorded(*inputs, *used)

    return call


@contextmanager
def _quietly() -> Iterator[Sequence[warnings.WarningMessage]]:
    """What torch warns of meanwhile, for the caller to look at: it announces the end of its recorder each time.

    The executor that fuses operators, and so would change last bits, is left out.
    """
    torch._C._jit_set_profiling_executor(False)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        yield warned


class _Watching(TorchFunctionMode):
    """Notes the tensors that operators read or write and that no operator made."""

    def __init__(self, known: Sequence[Tensor]) -> None:
        super().__init__()
        self.found: list[Tensor] = []
        # Kept alive, so that no other tensor can get the same identity.
        self._known: dict[int, Tensor] = {id(tensor): tensor for tensor in known}

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        for tensor in _tensors_in([*args, *(kwargs or {}).values()]):
            if id(tensor) not in self._known:
                self._known[id(tensor)] = tensor
                self.found.append(tensor)
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors_in([result]):
            self._known[id(tensor)] = tensor
        return result


def _tensors_in(values: Sequence[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors_in(value)


def _tensors_used(computation: Callable[..., Any], example: Sequence[Tensor]) -> list[Tensor]:
    """Tensors from outside that a computation uses, its inputs left out."""
    watching = _Watching(example)
    with watching:
        computation(*example)
    return watching.found
