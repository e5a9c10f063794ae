"""The server that `benchmarks.simulate` plays takes its turns as the engine does."""

from collections import defaultdict, deque
from functools import partial

import numpy as np
import pytest
from gatehouse_server.engine.job import Job
from gatehouse_server.engine.observer import SilentObserver
from gatehouse_server.engine.online import OnlineEngine
from gatehouse_server.engine.online_backend import HeadAnswer, OnlineAnswer
from gatehouse_server.engine.policy import OnlineBatching

from benchmarks.simulated_server import BEST, Service, SimulatedServer
from benchmarks.typists import Bursts, Habits

SERVICE = Service(turn_seconds=0.0007, job_seconds=0.0001, step_seconds=0.00002, pass_seconds=0.0002)
BATCHING = OnlineBatching(max_sessions_per_tick=32)
PEOPLE = 2_000
NOTHING_READ = {"vectors": np.zeros((0, 1), dtype=np.float32), "restricted": []}


class PassingTime(SilentObserver):
    """A device that only takes time, and an observer that notes what the engine tells."""

    bytes_per_row = 4

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []
        self.ticks = 0

    def run(self, batch):
        jobs = len(batch.source_rows) + len(batch.peeked_rows)
        self.now += (
            SERVICE.turn_seconds
            + SERVICE.job_seconds * jobs
            + SERVICE.step_seconds * len(batch.inputs)
            + SERVICE.pass_seconds * len(batch.batch_sizes)
        )
        none = np.zeros(3, dtype=np.int64), np.zeros(3, dtype=np.float32)
        head = batch.head and HeadAnswer(
            **{
                **NOTHING_READ,
                "best_ids": np.zeros((len(batch.head.rows), 3), dtype=np.int64),
                "best_values": np.zeros((len(batch.head.rows), 3), dtype=np.float32),
            },
            scores=none[1][:0],
        )
        return OnlineAnswer(finite=np.ones(len(batch.source_rows), dtype=np.bool_), head=head)

    def online_tick(self, tick):
        self.ticks += 1
        self.waits += tick.queue_seconds


def played_by_the_engine(presses):
    """The same key presses through the real engine of a model."""
    device = PassingTime()
    engine = OnlineEngine(
        model="typing", backend=device, batching=BATCHING, observer=device, clock=lambda: device.now
    )
    lines: dict[int, deque[Job]] = defaultdict(deque)
    answered: list[int] = []

    def finished(person, job, failure):
        assert failure is None
        answered.append(person)

    arriving = deque(
        zip(presses.seconds.tolist(), presses.person.tolist(), presses.steps.tolist(), strict=True)
    )
    while arriving or engine.queued:
        if not engine.queued:
            device.now = max(device.now, arriving[0][0])
        while arriving and arriving[0][0] <= device.now:
            seconds, person, steps = arriving.popleft()
            job = Job(
                inputs=np.zeros(steps, dtype=np.int64),
                source_row=1,
                target_row=2,
                wants=BEST,
                finished=partial(finished, person),
                received_seconds=seconds,
            )
            lines[person].append(job)
            if len(lines[person]) == 1:
                engine.submit(job)
        engine.tick()
        for person in answered:
            lines[person].popleft()
            if lines[person]:
                engine.submit(lines[person][0])
        answered.clear()
    return device


@pytest.mark.parametrize("pause_seconds", [10.0, 3.0, 0.6])
def test_waits_and_ticks_are_those_of_the_engine(pause_seconds):
    """Quiet, busy and overloaded: every operation waits as long as in the engine, and no tick more is run."""
    rng = np.random.default_rng(1)
    presses = Bursts(Habits(paste_share=0.2), 500, rng).draw(PEOPLE, 1.0, pause_seconds, rng)
    played = SimulatedServer(PEOPLE, service=SERVICE, batching=BATCHING).play(presses)
    device = played_by_the_engine(presses)
    assert len(played.waits) == len(played.answers) == len(presses.seconds) > 1000
    assert played.ticks == device.ticks
    assert sorted(played.waits) == pytest.approx(sorted(device.waits), abs=1e-9)


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_people_type_at_the_rate_that_was_asked_for(share):
    """Pauses follow from the rate, and the crowd is in its steady state from the first second to the last."""
    rng = np.random.default_rng(1)
    bursts = Bursts(Habits(), 5_000, rng)
    rate = share * bursts.most_presses_per_second
    presses = bursts.draw(20_000, 20.0, bursts.mean_pause_seconds(rate), rng)
    counts, _ = np.histogram(presses.seconds, bins=4, range=(0.0, 20.0))
    assert counts / (20_000 * 5.0 * rate) == pytest.approx(np.ones(4), rel=0.1)
