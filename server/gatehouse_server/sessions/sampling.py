"""Drawing a token from what a language model predicts.

The draws of a continuation depend on its seed, its number and how many were made before, and on nothing else.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gatehouse_server.engine.value import value

LogProbabilities = npt.NDArray[np.float32]

_FIRST_NUCLEUS = 128
"""How many of the likeliest tokens are put in order at first. Nearly always they reach `top_p`."""


@value
class Sampling:
    """As in the protos: p^(1/temperature), the `top_k` likeliest of them, of these the fewest that reach `top_p`.

    A `temperature` of 0 always takes the likeliest. `seed` is absent when the server is to choose one.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    seed: int | None = None


GREEDY = Sampling(temperature=0.0)


class Sampler:
    """Draws the tokens of one continuation."""

    def __init__(self, sampling: Sampling, *, seed: int, alternative: int) -> None:
        """`seed` is in [0, 2^64); `alternative` is the number of the continuation."""
        self._sampling = sampling
        # A generator that is defined by its key: alternatives have streams of their own, which nothing else moves.
        key = np.array([seed, alternative], dtype=np.uint64)
        self._random = np.random.Generator(np.random.Philox(key=key))

    def draw(self, log_probabilities: LogProbabilities, barred: npt.NDArray[np.int64]) -> int:
        """A token of (V,) natural log-probabilities that is none of `barred`, which has to leave one."""
        values = log_probabilities.astype(np.float64)
        values[barred] = -np.inf
        if self._sampling.temperature == 0.0:
            return int(values.argmax())  # the first of equal ones, so the lower id
        ids, weights = self._kept(values)
        reached = np.cumsum(weights)
        drawn = np.searchsorted(reached, self._random.random() * reached[-1], side="right")
        return int(ids[min(int(drawn), len(ids) - 1)])

    def _kept(self, values: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """The ids that may be drawn and their weights, which need not add up to 1."""
        sampling = self._sampling
        with np.errstate(over="ignore", under="ignore"):
            scaled = np.exp((values - values.max()) / sampling.temperature)
        ids: npt.NDArray[np.int64] = np.arange(len(values))
        if sampling.top_k is not None and sampling.top_k < len(values):
            ids = _likeliest(scaled, sampling.top_k)
        if sampling.top_p < 1.0:
            ids = _nucleus(scaled, ids, sampling.top_p)
        return ids, scaled[ids]


def _likeliest(weights: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.int64]:
    """The ids of the `count` largest, ascending; of equal ones those with the lower ids."""
    least = np.partition(weights, len(weights) - count)[len(weights) - count]
    above = np.flatnonzero(weights > least)
    equal = np.flatnonzero(weights == least)[: count - len(above)]
    return np.sort(np.concatenate((above, equal)))


def _nucleus(
    weights: npt.NDArray[np.float64], ids: npt.NDArray[np.int64], share: float
) -> npt.NDArray[np.int64]:
    """The fewest of `ids`, likeliest first, that together have at least this share of their weight."""
    among = weights[ids]
    wanted = share * among.sum()
    count = min(_FIRST_NUCLEUS, len(ids))
    while True:
        first = _likeliest(among, count)
        ordered = first[np.argsort(-among[first], kind="stable")]
        reached = np.cumsum(among[ordered])
        if reached[-1] >= wanted or count == len(ids):
            end = int(np.searchsorted(reached, wanted, side="left")) + 1
            return np.sort(ids[ordered[:end]])
        count = min(4 * count, len(ids))
