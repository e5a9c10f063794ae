"""The ratios of `benchmarks.online` are those of its definitions."""

import pytest

from benchmarks.bare_step import BareStep
from benchmarks.online_rounds import Measured
from benchmarks.online_servers import Server, Variant
from benchmarks.online_verdict import verdict
from benchmarks.server_process import ServerProcess

BARE = BareStep(
    batch=1,
    lstm_seconds=0.0002,
    engine_seconds={"float32": 0.0004},
    rested_seconds={"lstm": 0.0007, "float32": 0.0008},
)


def measured(kind, threads=1, *, steps=100, latency=0.001, regime="streams", load=None):
    """A second of something, of which the server took half and the client a quarter of a core."""
    server = Server(
        kind=kind,
        process=ServerProcess(pid=1, target=""),
        model=None,
        precision=None if kind == "echo" else "float32",
        compute_threads=None if kind == "echo" else threads,
    )
    return Measured(
        server=server,
        regime=regime,
        sessions=1,
        load=load,
        seconds=1.0,
        latencies=[latency] * steps,
        late=[0.0] if load else [],
        server_cpu_seconds=0.5,
        client_cpu_seconds=0.25,
    )


def test_ratios_are_taken_to_the_better_plain_server():
    """Of its numbers of threads the one with more steps counts."""
    row, *_ = verdict(
        [measured("gatehouse", steps=300), measured("plain", 1), measured("plain", 2, steps=150)], BARE
    )
    assert (row["over_plain"], row["plain_compute_threads"]) == (2.0, 2)
    assert row["cpu_over_plain"] == 2.0


def test_one_step_is_compared_with_echo_and_the_quickest_bare_step():
    """1 ms over 0.3 ms of echo and 0.2 ms of nn.LSTM, which is quicker than the engine here."""
    row, *_ = verdict([measured("gatehouse"), measured("echo", latency=0.0003)], BARE)
    facts = row["one_step"]
    assert (facts["ratio"], facts["over_echo_and_lstm"], facts["over_echo_and_engine"]) == (2.0, 2.0, 1.43)


def test_one_step_is_also_compared_with_a_bare_step_after_a_rest():
    """1 ms over 0.3 ms of echo and 0.7 ms of nn.LSTM when it was not called just before."""
    row, *_ = verdict([measured("gatehouse"), measured("echo", latency=0.0003)], BARE)
    assert row["one_step"]["ratio_rested"] == 1.0


def test_an_echo_of_another_regime_is_no_measure():
    """A stream each is compared with a stream each."""
    row, *_ = verdict([measured("gatehouse"), measured("echo", regime="multiplexed")], BARE)
    assert "over_echo" not in row


def test_open_loops_have_no_ratios():
    """Their rate was given, not found."""
    row, *_ = verdict([measured("gatehouse", load=0.5), measured("plain")], BARE)
    assert row["loop"] == "open"
    assert not {"over_plain", "over_engine"} & set(row)


@pytest.mark.parametrize(("text", "threads"), [("float32", 1), ("float32/2", 2)])
def test_variants_are_read(text, threads):
    """A precision, and after a slash the compute threads."""
    assert Variant.parsed(text) == Variant(precision="float32", compute_threads=threads)
    with pytest.raises(ValueError, match="no precision"):
        Variant.parsed("float31")
