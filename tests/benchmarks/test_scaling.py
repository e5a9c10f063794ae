"""What `benchmarks.scaling` says of costs follows from its measurements."""

import pytest

from benchmarks import scaling_cost
from benchmarks.turns import Turns


@pytest.fixture
def costs(monkeypatch):
    """The row that comes of microseconds of a tick, by batch."""

    def row(ticks):
        taken = {
            str(batch): Turns(wall=[1.0], cpu=[1e-6 * spent, 2e-6 * spent]) for batch, spent in ticks.items()
        }
        monkeypatch.setattr(scaling_cost, "in_turns", lambda *_: taken)
        return scaling_cost.costs_of(dict.fromkeys(ticks, lambda: None), 1, 0.0)

    return row


def test_costs_are_those_of_a_step_in_the_best_turn(costs):
    """A tick of 64 that takes 640 microseconds costs 10 for a step: a tenth of that alone."""
    row = costs({1: 100, 64: 640})
    assert row["us_per_step"] == {"1": 100.0, "64": 10.0}
    assert row["at_64_over_at_1"] == 0.1


def test_a_doubling_that_costs_more_than_a_tenth_is_told(costs):
    """From 2 to 4 the step becomes a fifth dearer."""
    row = costs({1: 100, 2: 100, 4: 240})
    assert row["rise_at_doubling"] == {"2": 0.5, "4": 1.2}
    assert (row["greatest_rise"], row["within_limit"]) == (1.2, False)
