"""Tokens are drawn as they should be, and the same ones again."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from gatehouse_server.sessions.sampling import GREEDY, Sampler, Sampling

NONE = np.array([], dtype=np.int64)
EIGHT = np.array([0.3, 0.2, 0.15, 0.15, 0.1, 0.05, 0.04, 0.01])


def log_of(probabilities: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Natural log-probabilities as a model answers them."""
    return np.asarray(np.log(np.asarray(probabilities)), dtype=np.float32)


def draws(
    sampling: Sampling, count: int, *, seed: int = 7, alternative: int = 0, barred: npt.ArrayLike = NONE
) -> npt.NDArray[np.int64]:
    """Draws of one continuation, from the same eight probabilities each time."""
    sampler, values = Sampler(sampling, seed=seed, alternative=alternative), log_of(EIGHT)
    out = np.asarray(barred, dtype=np.int64)
    return np.array([sampler.draw(values, out) for _ in range(count)])


@pytest.mark.parametrize(
    ("sampling", "barred", "expected"),
    [
        (Sampling(), [], EIGHT),
        (Sampling(temperature=0.5), [], EIGHT**2),
        (Sampling(temperature=2.0), [], EIGHT**0.5),
        (Sampling(top_k=3), [], EIGHT * [1, 1, 1, 0, 0, 0, 0, 0]),
        (Sampling(top_k=100), [], EIGHT),
        (Sampling(top_p=0.6), [], EIGHT * [1, 1, 1, 0, 0, 0, 0, 0]),
        (Sampling(top_p=0.66), [], EIGHT * [1, 1, 1, 1, 0, 0, 0, 0]),
        (Sampling(top_k=4, top_p=0.5), [], EIGHT * [1, 1, 0, 0, 0, 0, 0, 0]),
        (Sampling(temperature=0.5, top_p=0.6), [], EIGHT**2 * [1, 1, 0, 0, 0, 0, 0, 0]),
        (Sampling(), [0, 3], EIGHT * [0, 1, 1, 0, 1, 1, 1, 1]),
        (Sampling(top_k=2), [0], EIGHT * [0, 1, 1, 0, 0, 0, 0, 0]),
    ],
)
def test_draws_follow_the_probabilities(
    sampling: Sampling, barred: list[int], expected: npt.NDArray[np.float64]
) -> None:
    """4,000 draws with a fixed seed lie as near to what is expected as chance allows (chi-square at 0.999), and
    nothing is drawn that was left out.
    """
    counts = np.bincount(draws(sampling, 4_000, barred=barred), minlength=len(EIGHT))
    expected = expected / expected.sum() * counts.sum()
    allowed = expected > 0
    assert counts[~allowed].sum() == 0
    statistic = ((counts - expected)[allowed] ** 2 / expected[allowed]).sum()
    limits = {1: 10.83, 2: 13.82, 3: 16.27, 5: 20.52, 7: 24.32}
    assert statistic < limits[int(allowed.sum()) - 1]


def test_the_same_seed_draws_the_same() -> None:
    """Seed and number of the continuation decide, and both count."""
    again = [draws(Sampling(), 50, seed=2**64 - 1, alternative=3) for _ in range(2)]
    assert (again[0] == again[1]).all()
    assert (again[0] != draws(Sampling(), 50, seed=2**64 - 1, alternative=2)).any()
    assert (again[0] != draws(Sampling(), 50, seed=0, alternative=3)).any()


def test_the_draws_of_a_seed_stay_what_they_are() -> None:
    """What a seed gave once it gives in each later version, too."""
    assert draws(Sampling(), 12, seed=42).tolist() == [4, 0, 4, 1, 1, 1, 0, 0, 4, 3, 1, 0]


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(temperature=1e-30), Sampling(top_k=1)])
def test_the_likeliest_is_taken_where_nothing_else_can_be(sampling: Sampling) -> None:
    """A temperature of 0, a tiny one and a choice of one agree; equal ones go to the lower id."""
    values = log_of([0.2, 0.3, 0.3, 0.2])
    drawn = Sampler(sampling, seed=1, alternative=0).draw(values, NONE)
    assert drawn in ((1, 2) if sampling.temperature == 1e-30 else (1,))


def test_the_nucleus_is_found_beyond_the_first_few() -> None:
    """A flat distribution over more tokens than are put in order at first is kept as far as it has to be."""
    values = log_of(np.full(1000, 0.001))
    sampler = Sampler(Sampling(top_p=0.5), seed=1, alternative=0)
    drawn = {sampler.draw(values, NONE) for _ in range(6_000)}
    assert drawn == set(range(500))


def test_what_is_given_is_not_changed() -> None:
    """Other readers of the model's output see all of it."""
    values = log_of(EIGHT)
    before = values.copy()
    Sampler(GREEDY, seed=1, alternative=0).draw(values, np.array([0]))
    assert (values == before).all()
