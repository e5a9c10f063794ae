"""How to find a figure in the results of `benchmarks.cells`."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.cells_kinds import CELLS, KINDS, TaskName
from benchmarks.cells_training import Equal
from benchmarks.report_results import Results, Row, chosen
from training.cells.network import Kind

# What kinds have in common with the LSTM.
EQUALS: dict[Equal, str] = {"size": "units", "count": "parameters"}
BEST: dict[TaskName, str] = {"keyboard": "perplexity", "topics": "accuracy"}


@dataclass(frozen=True, slots=True)
class CellResults:
    """Of one run."""

    file: Row

    @classmethod
    def of(cls, results: Results) -> CellResults:
        """The committed run."""
        return cls(results["cells"])

    def trained(self, task: TaskName, kind: Kind, equal: Equal) -> Row:
        """What was trained."""
        rows = chosen(self.file["training"]["results"], task=task, kind=kind)
        return next(row for row in rows if equal in row["equal"])

    def timed(self, kind: Kind, equal: Equal, model: int) -> Row:
        """What was timed, beside an LSTM of `model` units."""
        rows = chosen(self.file["speed"]["results"], kind=kind, model_hidden_size=model)
        return next(row for row in rows if equal in row["equal"])

    @property
    def models(self) -> list[int]:
        """Units of the LSTMs that others were timed beside."""
        return sorted({row["model_hidden_size"] for row in self.file["speed"]["results"]})

    def kinds(self, task: TaskName) -> list[Kind]:
        """Those that learned the task."""
        there = {row["kind"] for row in chosen(self.file["training"]["results"], task=task)}
        return [kind for kind in KINDS if kind in there]

    def figure(self, task: TaskName, kind: Kind, equal: Equal = "size") -> float:
        """Perplexity or accuracy, a mean over the seeds."""
        return float(self.trained(task, kind, equal)[BEST[task]])

    def spread(self, task: TaskName) -> float:
        """The mean difference between the best and the worst seed of a kind, of those with several."""
        each = [
            row[f"{BEST[task]}_of_each_seed"] for row in chosen(self.file["training"]["results"], task=task)
        ]
        ranges = [max(values) - min(values) for values in each if len(values) > 1]
        return sum(ranges) / len(ranges) if ranges else float("nan")

    def gradient(self, kind: Kind, when: str, over: str = "median") -> list[float]:
        """By words before the end; `when` is `before` or `after` training, `over` texts `median` or `mean`."""
        (row,) = chosen(self.file["training"]["gradients"], kind=kind)
        return list(row[when][over])


def name_of(kind: Kind) -> str:
    """As people call it."""
    return CELLS[kind].name
