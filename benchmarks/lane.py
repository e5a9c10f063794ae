"""What the sessions' lane itself costs a write: `python -m benchmarks.lane [--json]`, half a minute.

Each turn, every session of R2 gets one write: one token under a revision, its five best words asked back. A backend
that answers at once takes the network's place, and no gRPC is there, so what is timed is Python on the engine's
thread: from tickets to answers (`lane`), and the part of it that queues jobs, makes ticks of them and hands out what
they answered (`engine`). Processor time of that thread, microseconds a write, the best of many turns: others that use
the machine only add to it.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from gatehouse_server.engine.job import Job, Wants
from gatehouse_server.engine.loop import Answers
from gatehouse_server.engine.observer import SilentObserver
from gatehouse_server.engine.online import OnlineEngine
from gatehouse_server.engine.online_backend import Floats, HeadAnswer, Ids, OnlineAnswer, OnlineBatch
from gatehouse_server.engine.policy import OnlineBatching
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.models.registry import Registry
from gatehouse_server.sessions.lane import SessionLane
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.operations import CreateSession, OutputRequest, Write
from gatehouse_server.sessions.results import SessionView, WriteResult

from benchmarks import outcome
from benchmarks.hand import NoSink
from benchmarks.shapes import write_shape

SESSIONS = (1, 64, 256)
K = 5
WRITES = 60_000
_SINK = NoSink()
_V = 10_000


class InstantBackend:
    """Answers at once, always the same; counts the processor time that it took itself."""

    bytes_per_row = 4

    def __init__(self, **_: object) -> None:
        self.spent_ns = 0
        generator = np.random.default_rng(0)
        self._ids: Ids = generator.integers(0, _V, (max(SESSIONS), K))
        self._values: Floats = -generator.random((max(SESSIONS), K), dtype=np.float32)
        self._finite = np.ones(max(SESSIONS), dtype=np.bool_)
        self._none: Floats = np.empty(0, dtype=np.float32)

    def run(self, batch: OnlineBatch) -> OnlineAnswer:
        """See `OnlineBackend`."""
        began_ns = time.thread_time_ns()
        head = None
        if batch.head is not None:
            rows = len(batch.head.rows)
            head = HeadAnswer(
                best_ids=self._ids[:rows],
                best_values=self._values[:rows],
                scores=self._none,
                vectors=self._none[:, None],
                restricted=(),
            )
        answer = OnlineAnswer(finite=self._finite[: len(batch.source_rows)], head=head)
        self.spent_ns += time.thread_time_ns() - began_ns
        return answer

    def read_states(self, rows: Ids) -> Floats:
        """See `OnlineBackend`."""
        return np.zeros((len(rows), 1), dtype=np.float32)

    def write_states(self, rows: Ids, states: Floats) -> None:
        """See `OnlineBackend`."""


class LaneTurns:
    """Turns of the engine's loop as far as the sessions' lane takes part in them."""

    def __init__(self, registry: Registry, sessions: int) -> None:
        self._backends: list[InstantBackend] = []
        self._lane = SessionLane(
            registry=registry,
            limits=SessionLimits(max_live_sessions=sessions),
            batching=OnlineBatching(),
            observer=SilentObserver(),
            backend_of=self._backend_of,
        )
        self._answers: Answers = []
        self._revision = 0
        self._tokens = np.random.default_rng(1)
        self._turn([CreateSession(model="r2", session_id=f"session-{number}") for number in range(sessions)])
        views = [answer for _, answer in self._answers if isinstance(answer, SessionView)]
        self._sessions = [(view.session_id, view.state.incarnation) for view in views]

    def cost_ns(self) -> int:
        """One write of every session: what the lane and its engine took."""
        tokens = self._tokens.integers(0, _V, len(self._sessions))
        writes = [
            Write(
                session_id=session_id,
                incarnation=incarnation,
                revision=self._revision + 1,
                at=self._revision,
                inputs=tokens[number : number + 1].copy(),
                outputs=OutputRequest(k=K),
            )
            for number, (session_id, incarnation) in enumerate(self._sessions)
        ]
        self._answers.clear()
        spent_ns = self._turn(writes)
        self._revision += 1
        for _, answer in self._answers:
            if not isinstance(answer, WriteResult) or answer.state.revision != self._revision:
                raise RuntimeError(f"expected the answer to a write, got {answer}")
        return spent_ns

    def _turn(self, operations: Sequence[object]) -> int:
        received = time.monotonic()
        tickets = [
            Ticket(operation=operation, sink=_SINK, tag=tag, received_seconds=received)
            for tag, operation in enumerate(operations)
        ]
        lane, answers = self._lane, self._answers
        instant_ns = sum(backend.spent_ns for backend in self._backends)
        began_ns = time.thread_time_ns()
        lane.has_work()
        lane.wakes_in_seconds()
        lane.accept(tickets, answers)
        lane.housekeep(answers)
        if lane.has_work():
            lane.run(answers)
        spent_ns = time.thread_time_ns() - began_ns
        return spent_ns - (sum(backend.spent_ns for backend in self._backends) - instant_ns)

    def _backend_of(self, *_: object, **__: object) -> InstantBackend:
        self._backends.append(InstantBackend())
        return self._backends[-1]


class EngineTurns:
    """The engine of one model alone, with jobs that are already there."""

    def __init__(self, sessions: int) -> None:
        self._backend = InstantBackend()
        self._engine = OnlineEngine(
            model="r2@1",
            backend=self._backend,
            batching=OnlineBatching(),
            observer=SilentObserver(),
            clock=time.monotonic,
        )
        self._sessions = sessions
        self._wants = Wants(k=K)
        self._token = np.array([3])

    def cost_ns(self) -> int:
        """One job of every session, from the queue to its answer."""
        jobs = [
            Job(self._token, row, row + self._sessions, self._wants, _finished, 0.0)
            for row in range(1, self._sessions + 1)
        ]
        instant_ns = self._backend.spent_ns
        began_ns = time.thread_time_ns()
        for job in jobs:
            self._engine.submit(job)
        self._engine.tick()
        return time.thread_time_ns() - began_ns - (self._backend.spent_ns - instant_ns)


def main() -> None:
    """Prints a line for each number of sessions, or all of it as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    outcome.add_arguments(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_shape(Path(folder), "R2")
        registry = Registry.load([Path(folder)], embedded=None)
    # As the server does: what lives as long as it need not be looked at by each garbage collection.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    results = [
        {
            "sessions": sessions,
            "lane_us": _best_us(LaneTurns(registry, sessions).cost_ns, sessions),
            "engine_us": _best_us(EngineTurns(sessions).cost_ns, sessions),
        }
        for sessions in SESSIONS
    ]
    if not options.json:
        for result in results:
            print(
                "{sessions:4} sessions: {lane_us} us a write, of it the engine {engine_us} us".format(
                    **result
                )
            )
    outcome.finish(options, "cpu", {"benchmark": "lane", "k": K, "results": results})


def _best_us(cost_ns: Callable[[], int], sessions: int) -> float:
    """The best of turns of so many writes in all, microseconds a write."""
    return round(min(cost_ns() for _ in range(max(50, WRITES // sessions))) / sessions / 1000, 2)


def _finished(job: Job, failure: Exception | None) -> None:
    if failure is not None:
        raise failure


if __name__ == "__main__":
    main()
