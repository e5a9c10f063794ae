"""A real client process and a real server process: what the benchmarks start, in a moment's form."""

import pytest

from benchmarks.load_process import load_processes, run_together
from benchmarks.online_load import Steps
from benchmarks.server_process import running_module

SECONDS = 0.2


@pytest.fixture(scope="module")
def client():
    """A client process."""
    with load_processes(1) as (process,):
        yield process


@pytest.fixture(scope="module")
def echo():
    """The echo."""
    with running_module("benchmarks.echo_server") as server:
        yield server


@pytest.mark.parametrize("regime", ["streams", "multiplexed", "unary"])
def test_every_regime_makes_steps_and_tells_what_they_took(client, echo, regime):
    """Three sessions in closed loop: latencies of each step, and processor time of client and server."""
    asked = Steps(regime=regime, sessions=3)
    (ran,), (server_cpu,) = run_together(
        [(client, asked, echo.target)], SECONDS, [echo.pid], warm_up_seconds=0.1
    )
    assert ran.latencies
    assert 0 < min(ran.latencies) <= max(ran.latencies) < 60
    assert ran.seconds == SECONDS
    assert ran.cpu_seconds + server_cpu > 0


def test_an_open_loop_keeps_its_rate(client, echo):
    """Steps arrive at the rate that was asked for, however quick the server is."""
    asked = Steps(regime="unary", sessions=2, per_second=200.0)
    (ran,), _ = run_together([(client, asked, echo.target)], 2 * SECONDS, [], warm_up_seconds=0.1)
    assert 30 < len(ran.latencies) < 140
    assert len(ran.told["late_us"]) >= len(ran.latencies)


def test_a_client_that_fails_fails_the_measurement():
    """A server that is not there is no figure of zero."""
    with load_processes(1) as (process,):
        asked = Steps(regime="unary", sessions=1)
        with pytest.raises(RuntimeError, match="client process failed"):
            run_together([(process, asked, "127.0.0.1:1")], SECONDS, [], warm_up_seconds=0.0)
