"""Bins count as Prometheus' own histogram does."""

import numpy as np
import pytest
from gatehouse_server.telemetry.bins import ONLINE_SECONDS, Bins
from prometheus_client import CollectorRegistry, Histogram


@pytest.mark.parametrize("count", [0, 1, 5, 24, 25, 1000])
def test_bins_count_as_the_library_does(count: int) -> None:
    """The same cumulative counts and sum, for few values and for many, edges included."""
    generator = np.random.default_rng(count)
    values = [*generator.exponential(0.05, count).tolist(), *ONLINE_SECONDS, 0.0, 99.0]
    registry = CollectorRegistry()
    histogram = Histogram("h", "h", buckets=ONLINE_SECONDS, registry=registry)
    for value in values:
        histogram.observe(value)
    bins = Bins(ONLINE_SECONDS)
    bins.add_all(values)
    for edge, cumulative in bins.buckets():
        assert registry.get_sample_value("h_bucket", {"le": edge}) == cumulative
    assert registry.get_sample_value("h_sum") == pytest.approx(bins.total)
    assert bins.count == len(values)


def test_the_edges_for_online_latencies_are_those_of_the_dashboards() -> None:
    """Queries and alerts name them: they stay."""
    text = ".0005 .001 .002 .003 .005 .0075 .01 .015 .02 .03 .05 .075 .1 .25 .5 1 2.5"
    assert tuple(float(edge) for edge in text.split()) == ONLINE_SECONDS
