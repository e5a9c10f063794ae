"""How CUDA graphs are captured, with a double of `torch.cuda` that notes what is asked of it."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from gatehouse_server.engine.graphs import CudaGraphs


class FakeCuda:
    """Streams, and one graph that remembers how often it was replayed."""

    def __init__(self):
        self.asked = []
        self.stream_now = "default"

    def make_stream(self, name):
        return SimpleNamespace(
            name=name,
            wait_stream=lambda other: self.asked.append(f"{name} waits for {other.name}"),
            synchronize=lambda: self.asked.append(f"host waits for {name}"),
        )

    @contextmanager
    def device(self, device):
        yield

    @contextmanager
    def stream(self, stream):
        self.stream_now = stream.name
        yield
        self.stream_now = "default"

    @contextmanager
    def graph(self, graph, pool, stream, capture_error_mode):
        # Other threads go on using the device meanwhile, when a model is loaded beside those that serve.
        assert capture_error_mode == "thread_local"
        self.asked.append(f"capture on {stream.name} in {pool}")
        with self.stream(stream):
            yield
        self.asked.append("captured")


@pytest.fixture
def cuda(monkeypatch):
    """It, in torch's place."""
    fake = FakeCuda()
    default = fake.make_stream("default")
    replacements = {
        "device": fake.device,
        "graph_pool_handle": lambda: "pool",
        "Stream": lambda: fake.make_stream("side"),
        "current_stream": lambda device=None: default,
        "stream": fake.stream,
        "CUDAGraph": lambda: SimpleNamespace(replay=lambda: fake.asked.append("replay")),
        "graph": fake.graph,
    }
    for name, replacement in replacements.items():
        monkeypatch.setattr(torch.cuda, name, replacement)
    yield fake
    torch.use_deterministic_algorithms(False)


def test_a_function_is_warmed_up_aside_and_captured_once(cuda):
    """On another stream than the default one, each waiting for the other, with the pool that all graphs share; torch's
    deterministic algorithms, which a graph may not hold, are off meanwhile and as before afterwards.
    """
    torch.use_deterministic_algorithms(True)

    def function():
        assert not torch.are_deterministic_algorithms_enabled()
        cuda.asked.append(f"run on {cuda.stream_now}")

    replay = CudaGraphs(torch.device("cuda")).capture(function)
    assert torch.are_deterministic_algorithms_enabled()
    assert cuda.asked == [
        "side waits for default",
        *["run on side"] * 3,
        "default waits for side",
        "capture on side in pool",
        "run on side",
        "captured",
    ]
    replay()
    assert cuda.asked[-1] == "replay"


def test_the_host_waits_for_the_stream_that_graphs_run_on(cuda):
    """The current one."""
    CudaGraphs(torch.device("cuda")).wait()
    assert cuda.asked == ["host waits for default"]
