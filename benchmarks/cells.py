"""What cells are worth: vanilla RNN, LSTM, GRU, CIFG, peephole and bidirectional LSTM, trained and served alike.

    python -m benchmarks.cells --json --data DIR [--parts training,speed] [--save cells]

`DIR` holds tatoeba-eng/ and arxiv-abstracts-12/ (and common-voice-en-sentences/, which `python -m training.keyboard`
reads, too). Kinds are compared with an LSTM of 128 units, once with as many units and once with as many parameters in
the whole network. Small parts of two corpora: the next word of sentences (the bidirectional LSTM would see the answer,
so it is left out), and the class of abstracts, read off at their 64th word.

- `training`: every network has the same batches, schedule and seeds; its learning rate is the best of three by the loss
  on a held-out tenth. One plain loop over the steps for all of them, one thread; `epoch_cpu_seconds` is the quickest
  epoch. Quality is that of Gatehouse's own network with the trained weights, on the validation parts. Each of
  its steps must be the trained module's to 1e-5, or the benchmark fails. Then the gradient through time, see
  `cells_gradients`: of the class's loss by the state so many words back, before and after training.
- `speed`: see `cells_speed`. With `--save`, a part that is not measured stays as the file has it.

About a quarter of an hour of a processor. `--quick`: seconds of tiny networks, to see that all of it works.
`python -m benchmarks.report` makes the tables and pictures of docs/cells.md. The last line of standard output is JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks import outcome
from benchmarks.cells_gradients import norms, texts_of, untrained
from benchmarks.cells_plan import FULL, QUICK, Plan
from benchmarks.cells_speed import measure
from benchmarks.cells_tasks import Keyboard, Topics
from benchmarks.cells_training import train

PARTS = ("training", "speed")


def training(data: Path, plan: Plan, report: Callable[[str], None]) -> dict[str, list[Any]]:
    """Quality, learning rates and gradients of both tasks."""
    seed = plan.seeds[0]
    words = on_keyboard(Keyboard(data, plan, seed), plan, report)
    documents = on_topics(Topics(data, plan, seed), plan, report)
    return {part: words.get(part, []) + documents[part] for part in documents}


def on_keyboard(task: Keyboard, plan: Plan, report: Callable[[str], None]) -> dict[str, list[Any]]:
    """Quality and learning rates."""
    trained, tuning = train(task, plan, report)
    return {"results": [each.row for each in trained], "tuning": tuning}


def on_topics(task: Topics, plan: Plan, report: Callable[[str], None]) -> dict[str, list[Any]]:
    """The same, and the gradients of networks of equal size."""
    trained, tuning = train(task, plan, report)
    ids, labels = texts_of(task.documents.whole, plan.gradient_steps, plan.gradient_documents)
    gradients = [
        {
            "kind": each.network.shape.kind,
            "hidden_size": each.network.shape.hidden_size,
            "before": norms(untrained(each.network.shape, plan.seeds[0]), ids, labels),
            "after": norms(each.network, ids, labels),
        }
        for each in trained
        if "size" in each.row["equal"]
    ]
    return {"results": [each.row for each in trained], "tuning": tuning, "gradients": gradients}


def main() -> None:
    """Measures, and ends with one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of the corpora; the part `training` needs it")
    parser.add_argument("--parts", default=",".join(PARTS), help="what to measure (default all)")
    parser.add_argument("--quick", action="store_true", help="tiny networks; the figures mean nothing")
    outcome.add_arguments(parser)
    options = parser.parse_args()
    parts = options.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"--parts: expected some of {', '.join(PARTS)}, got {', '.join(sorted(unknown))}")
    if "training" in parts and options.data is None:
        parser.error("--data: the part training needs it")
    torch.set_num_threads(1)
    plan = QUICK if options.quick else FULL
    report = (lambda line: None) if options.json else (lambda line: print(line, flush=True))
    measured: dict[str, Any] = {}
    try:
        if "training" in parts:
            measured["training"] = _with_hardware(training(options.data, plan, report))
        if "speed" in parts:
            with torch.inference_mode():
                measured["speed"] = _with_hardware({"results": measure(plan, plan.seeds[0])})
    except (OSError, ValueError) as failure:
        sys.exit(f"{failure}")
    outcome.finish(options, "cpu", {"benchmark": "cells", "threads": 1, **_kept(options.save), **measured})


def _with_hardware(figures: dict[str, Any]) -> dict[str, Any]:
    return {"hardware": outcome.hardware(), **figures}


def _kept(name: str | None) -> dict[str, Any]:
    """The parts of an earlier run."""
    file = outcome.RESULTS / f"{name}.json"
    if name is None or not file.is_file():
        return {}
    earlier = json.loads(file.read_text(encoding="utf-8"))
    return {part: earlier[part] for part in PARTS if part in earlier}


if __name__ == "__main__":
    main()
