"""What a turn of the engine takes by what is in it: its jobs, their steps, and how many steps the longest has.

    python -m benchmarks.service_times --json [--model keyboard|R1|R2] [--repeats 15]

The real sessions' lane, driven by hand, with batches of 1 to 256 operations: reads without a step (a word is being
typed), words' ends (one step), writes of 16 steps (a chunk of a paste). The figure of a case is the least processor
time of its repeats, so other programs on the machine matter little. `fit` is the sum of parts with the least relative
error over all cases: seconds = turn_seconds + job_seconds * jobs + step_seconds * steps + pass_seconds * longest. Steps
of one job follow each other, and each pass over the weights serves all jobs that still have a step, so the longest
counts. RPC is not in it. The last line of standard output is JSON.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import numpy as np
import torch
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.operations import Suggest, Write
from gatehouse_server.sessions.results import SuggestResult, WriteResult

from benchmarks.hand import Hand, append, timed
from benchmarks.made_sessions import (
    Writer,
    exported,
    imported,
    model_folder,
    new_writer,
    random_tokens,
    registry_of,
)

BATCHES = (1, 4, 16, 64, 128, 256)
CHUNK_STEPS = 16
K = 3

Row = dict[str, Any]

# Words that both kinds of vocabulary have or spell as unknown: what a step costs does not depend on the word.
_WORD = "you "
_LETTERS = "abcdefgh"


def measure(model: str, repeats: int) -> list[Row]:
    """A row for each case and batch: the least processor time of a turn, seconds."""
    with model_folder(model) as folder:
        registry = registry_of(folder)
    hand = Hand(registry, limits=SessionLimits(max_live_sessions=2 * max(BATCHES), idle_seconds=1e9))
    (key,) = (each.key for each in registry.models)
    names = [f"typist-{number}" for number in range(max(BATCHES))]
    blob = exported(hand, new_writer(hand, key))
    writers = imported(hand, blob, max(BATCHES))
    rows: list[Row] = []
    presses = count()

    def suggested(name: str, text: str) -> Suggest:
        return Suggest(session_id=name, model=key, text=text, k=K)

    def reads(size: int) -> Callable[[], object]:
        letter = _LETTERS[next(presses) % len(_LETTERS)]
        operations = [suggested(name, _WORD + letter) for name in names[:size]]
        return lambda: hand.all(operations, SuggestResult)

    def words_ends(size: int) -> Callable[[], object]:
        operations = [suggested(name, _WORD * 2) for name in names[:size]]
        hand.all([suggested(name, _WORD) for name in names[:size]], SuggestResult)
        return lambda: hand.all(operations, SuggestResult)

    def chunks(size: int) -> Callable[[], object]:
        return lambda: _written(hand, writers[:size])

    hand.all([suggested(name, _WORD) for name in names], SuggestResult)
    cases = {"read": (reads, 0), "word's end": (words_ends, 1), "chunk": (chunks, CHUNK_STEPS)}
    for size in BATCHES:
        for case, (prepare, steps) in cases.items():
            least = min(timed(prepare(size))[0].cpu_seconds for _ in range(repeats))
            rows.append(
                {
                    "case": case,
                    "jobs": size,
                    "steps": size * steps,
                    "longest": steps,
                    "cpu_seconds": round(least, 7),
                }
            )
    return rows


def _written(hand: Hand, writers: Sequence[Writer]) -> None:
    writes: list[Write] = [
        append(writer.session_id, writer.state, random_tokens(CHUNK_STEPS)) for writer in writers
    ]
    for writer, result in zip(writers, hand.all(writes, WriteResult), strict=True):
        writer.state = result.state


def fit(rows: Sequence[Row]) -> dict[str, float]:
    """The four parts, seconds, and the greatest and the mean relative error over the rows."""
    seconds = np.array([row["cpu_seconds"] for row in rows])
    parts = np.array([[1.0, row["jobs"], row["steps"], row["longest"]] for row in rows])
    solution = np.linalg.lstsq(parts / seconds[:, None], np.ones(len(rows)))[0]
    errors = np.abs(parts @ solution / seconds - 1.0)
    turn, job, step, sweep = solution.tolist()
    return {
        "turn_seconds": round(turn, 7),
        "job_seconds": round(job, 7),
        "step_seconds": round(step, 7),
        "pass_seconds": round(sweep, 7),
        "mean_relative_error": round(float(errors.mean()), 3),
        "greatest_relative_error": round(float(errors.max()), 3),
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="keyboard", choices=("keyboard", "R1", "R2"))
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", action="store_true", help="print the last line only")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = measure(options.model, options.repeats)
    if not options.json:
        for row in rows:
            print(row)
    print(
        json.dumps(
            {
                "benchmark": "service_times",
                "machine": platform.processor() or platform.machine(),
                "model": options.model,
                "k": K,
                "fit": fit(rows),
                "results": rows,
            }
        )
    )


if __name__ == "__main__":
    main()
