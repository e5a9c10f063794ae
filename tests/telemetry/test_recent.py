"""What happened in the last seconds."""

import asyncio

import pytest
from gatehouse_server.engine.observer import OfflineBatch, OnlineTick
from gatehouse_server.telemetry.engine_metrics import EngineMetrics
from gatehouse_server.telemetry.recent import WINDOW_SECONDS, Recent, quantile
from gatehouse_server.telemetry.request_metrics import RequestMetrics


class Scene:
    """Metrics with a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.engine, self.requests = EngineMetrics(), RequestMetrics()
        self.recent = Recent(self.engine, self.requests, clock=lambda: self.now)

    def second(self) -> None:
        """A second passes, and is looked at."""
        self.recent.look()
        self.now += 1

    def tick(self, *, sessions: int = 4, steps: int = 8) -> None:
        """A tick of a model."""
        tick = OnlineTick(
            model="keyboard@1",
            sessions=sessions,
            steps=steps,
            outputs=0,
            form_seconds=0.001,
            compute_seconds=0.001,
            publish_seconds=0.001,
            queue_seconds=[],
        )
        self.engine.online_tick(tick)

    def batch(self, documents: int) -> None:
        """A batch of documents."""
        self.engine.offline_batch(
            OfflineBatch(
                model="topics@1",
                documents=documents,
                steps=10,
                computed_steps=10,
                form_seconds=0.001,
                compute_seconds=0.001,
                queue_seconds=[0.0] * documents,
            )
        )


@pytest.fixture
def scene() -> Scene:
    """Nothing has happened."""
    return Scene()


def test_rates_and_means_are_those_of_the_window(scene: Scene) -> None:
    """What was before it does not count, and a model that is gone meanwhile does."""
    scene.tick(steps=1_000)
    for _ in range(10):
        scene.second()
        scene.tick(sessions=6, steps=20)
        scene.batch(5)
    scene.engine.forget("keyboard@1")
    told = scene.recent.activity()
    assert told.window_seconds == WINDOW_SECONDS == 10
    assert (told.steps_per_second, told.documents_per_second) == (20, 5)
    assert (told.batch_sessions, told.batch_documents) == (6, 5)


def test_the_window_moves_on(scene: Scene) -> None:
    """After ten quiet seconds nothing is left of a burst."""
    scene.recent.look()
    scene.tick(steps=1_000)
    scene.requests.answered("write", "OK", [0.01] * 50)
    for _ in range(12):
        scene.second()
    told = scene.recent.activity()
    assert (told.steps_per_second, told.batch_sessions, told.operations) == (0, 0, ())


def test_answers_are_told_by_kind_with_their_failures(scene: Scene) -> None:
    """Only kinds of which there were any."""
    scene.requests.answered("write", "OK", [0.3])
    scene.second()
    scene.requests.answered("write", "OK", [0.0015] * 98)
    scene.requests.answered("write", "ABORTED", [0.04, 0.04])
    (write,) = scene.recent.activity().operations
    assert (write.operation, write.per_second, write.failed_per_second) == ("write", 100, 2)
    assert 0.001 < write.p50_seconds <= 0.002
    assert 0.03 < write.p99_seconds <= 0.05


def test_before_anything_is_known_everything_is_nothing(scene: Scene) -> None:
    """A server that was asked in its first moment answers, too."""
    assert scene.recent.activity().steps_per_second == 0


@pytest.mark.parametrize(
    ("share", "counts", "expected"),
    [
        (0.5, (10, 0, 0), 0.5),
        (0.5, (0, 10, 0), 1.5),
        (0.99, (99, 1, 0), 1.0),
        (1.0, (99, 1, 0), 2.0),
        (0.5, (0, 0, 3), 2.0),
    ],
)
def test_quantiles_are_guessed_as_prometheus_does(
    share: float, counts: tuple[int, ...], expected: float
) -> None:
    """Evenly between two edges; beyond the last one, that one."""
    assert quantile(share, (1.0, 2.0), counts) == pytest.approx(expected)


async def test_it_looks_by_itself(scene: Scene) -> None:
    """At once, and until it is told to stop."""
    watching = asyncio.create_task(scene.recent.watch())
    await asyncio.sleep(0)
    scene.tick(steps=30)
    scene.now += 2
    assert scene.recent.activity().steps_per_second == 15
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
