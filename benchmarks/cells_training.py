"""Trains every kind at both sizes, and measures what came out through Gatehouse's own network."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from gatehouse_server.network.network import Network
from torch import Tensor

from benchmarks.cells_kinds import (
    TaskName,
    of_equal_count,
    of_equal_size,
    parameter_count,
    recorded,
    spec_of,
)
from benchmarks.cells_plan import Plan
from benchmarks.cells_tasks import Task
from training.cells.course import Course
from training.cells.network import CellNetwork, Kind, Shape

Row = dict[str, Any]
Equal = Literal["size", "count"]
LARGEST_DIFFERENCE = 1e-5
_TEXTS, _STEPS, _SHORT_STEPS = 16, 32, 8
_TUNED_AS: dict[Kind, Kind] = {"bilstm": "lstm"}
"""A kind whose cell another one has is trained with that one's learning rate."""


class DifferentNumbersError(RuntimeError):
    """Gatehouse's network and the module that was trained do not compute the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A network and what is told of it."""

    network: CellNetwork
    row: Row


def train(task: Task, plan: Plan, report: Callable[[str], None]) -> tuple[list[Trained], list[Row]]:
    """All networks of a task, and the losses that chose their learning rates.

    Kinds of equal size are trained at every rate, and the best one of each counts; kinds of equal count at the rate
    that was best for their kind. Those of equal size are trained again with the other seeds. Raises
    DifferentNumbersError.
    """
    tuned = [kind for kind in task.kinds if kind not in _TUNED_AS]
    first = [
        _course(task, of_equal_size(kind, task.model), rate, plan.seeds[0])
        for kind in tuned
        for rate in plan.rates
    ]
    _run(first, report)
    losses = [task.held_out_loss(_served(course.network, task.name)) for course in first]
    best: dict[Kind, Course] = {}
    for course, _ in sorted(zip(first, losses, strict=True), key=lambda pair: pair[1]):
        best.setdefault(course.network.shape.kind, course)
    rates = {kind: best[_TUNED_AS.get(kind, kind)].learning_rate for kind in task.kinds}
    others = [_course(task, shape, rates[shape.kind], seed) for shape, seed in _others(task, plan)]
    _run(others, report)
    tuning = [
        {
            "task": task.name,
            "kind": course.network.shape.kind,
            "learning_rate": course.learning_rate,
            "held_out_loss": round(loss, 4),
        }
        for course, loss in zip(first, losses, strict=True)
    ]
    seconds: dict[Shape, float] = {}
    together: dict[Shape, list[Course]] = {}
    for course in [best[kind] for kind in tuned] + others:
        together.setdefault(course.network.shape, []).append(course)
    for course in first + others:
        shape = course.network.shape
        seconds[shape] = min([seconds.get(shape, float("inf")), *course.seconds])
    return [_trained(task, courses, seconds[shape]) for shape, courses in together.items()], tuning


def equal_in(shape: Shape, model: Shape) -> list[Equal]:
    """In what a network is equal to the model, as it was meant to be."""
    equal: list[Equal] = []
    if shape == of_equal_size(shape.kind, model):
        equal.append("size")
    if shape == of_equal_count(shape.kind, model):
        equal.append("count")
    return equal


def _others(task: Task, plan: Plan) -> Iterator[tuple[Shape, int]]:
    """What is trained once the learning rates are known, with its seed."""
    for kind in task.kinds:
        size, count = of_equal_size(kind, task.model), of_equal_count(kind, task.model)
        for number, seed in enumerate(plan.seeds):
            if number > 0 or kind in _TUNED_AS:
                yield size, seed
        if count != size:
            yield count, plan.seeds[0]


def _course(task: Task, shape: Shape, rate: float, seed: int) -> Course:
    torch.manual_seed(seed)
    network = CellNetwork(shape)
    return Course(network=network, epoch=task.epoch(), epochs=task.epochs, learning_rate=rate, seed=seed)


def _run(courses: list[Course], report: Callable[[str], None]) -> None:
    """All of them, epoch by epoch in turns: what else runs on the machine meets them alike."""
    for number in range(max(course.epochs for course in courses)):
        for course in courses:
            course.run_epoch()
            shape = course.network.shape
            report(
                f"{shape.kind} {shape.hidden_size}, rate {course.learning_rate}: epoch {number + 1}, "
                f"loss {course.losses[-1]:.3f}, {course.seconds[-1]:.1f} s"
            )


def _trained(task: Task, courses: list[Course], epoch_seconds: float) -> Trained:
    """One row for the courses of a shape with each seed; the network is that of the first."""
    network = courses[0].network
    shape = network.shape
    differences: list[float] = []
    qualities: list[dict[str, float]] = []
    for course in courses:
        served = _served(course.network, task.name)
        differences.append(difference_of(course.network, served))
        if differences[-1] > LARGEST_DIFFERENCE:
            raise DifferentNumbersError(
                f"{shape.kind}: Gatehouse's network differs from the trained module by {differences[-1]:.1e}"
            )
        qualities.append(task.quality(served))
    row = {
        "task": task.name,
        "kind": shape.kind,
        "equal": equal_in(shape, task.model),
        "hidden_size": shape.hidden_size,
        "parameters": parameter_count(shape),
        "recurrent_parameters": parameter_count(shape, "rnn."),
        "learning_rate": courses[0].learning_rate,
        "epoch_cpu_seconds": round(epoch_seconds, 3),
        "training_losses": [round(loss, 4) for loss in courses[0].losses],
        "largest_difference": float(f"{max(differences):.1e}"),
        "seeds": [course.seed for course in courses],
    }
    for name in qualities[0]:
        each = [quality[name] for quality in qualities]
        row[name] = round(statistics.mean(each), 4)
        row[f"{name}_of_each_seed"] = [round(value, 4) for value in each]
    return Trained(network=network, row=row)


def _served(network: CellNetwork, task: TaskName) -> Network:
    return recorded(spec_of(network.shape, task), network.weights())


@torch.inference_mode()
def difference_of(network: CellNetwork, served: Network) -> float:
    """The largest one of states and of probabilities over random texts, relative for numbers above 1.

    Each step begins in the trained module's state: some trained cells, the vanilla one above all, are chaotic, so that
    the last bit of a number grows from word to word. Two directions have no steps to compare; theirs are short texts.
    """
    if network.back is not None:
        return _difference_of_texts(network, served)
    ids = _texts(network, _STEPS)
    most, state = 0.0, served.layout.zeros(_TEXTS)
    for words, expected in zip(ids, network.ahead.states(network.embedding(ids)), strict=True):
        _, got = served.step(words, tuple(part.contiguous() for part in state))
        differences = [
            ((mine - theirs).abs() / mine.abs().clamp_min(1.0)).max()
            for mine, theirs in zip(expected, got, strict=True)
        ]
        most = max(most, *map(float, differences), _of_probabilities(network, served, expected[0], got[0]))
        state = expected
    return most


def _difference_of_texts(network: CellNetwork, served: Network) -> float:
    ids = _texts(network, _SHORT_STEPS)
    expected = network.ends(ids)
    got = served.summarize(ids.flatten(), (_TEXTS,) * _SHORT_STEPS)
    return max(float((expected - got).abs().max()), _of_probabilities(network, served, expected, got))


def _of_probabilities(network: CellNetwork, served: Network, expected: Tensor, got: Tensor) -> float:
    head = served.head
    assert head is not None
    logits = head.logits(got.contiguous())
    answered = torch.exp(logits - head.log_normalizer(logits).unsqueeze(1))[:, : head.size]
    return float((torch.softmax(network.head(expected), dim=1) - answered).abs().max())


def _texts(network: CellNetwork, steps: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(network.shape.vocabulary_size, (steps, _TEXTS), generator=generator)
