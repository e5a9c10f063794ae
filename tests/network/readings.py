"""Networks that read whole sequences, and what torch's modules read: for the tests of readers."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

import torch
from gatehouse_server.network.spec import (
    FeatureInputSpec,
    HeadSpec,
    NetworkSpec,
    RecurrentSpec,
    TokenInputSpec,
)
from torch import Tensor

from .oracle import ragged, reference

RECURRENTS = [
    RecurrentSpec.uniform(
        cell="lstm", input_size=5, hidden_size=8, layers=2, projection_size=3, bidirectional=True
    ),
    RecurrentSpec.uniform(cell="gru", input_size=5, hidden_size=8, layers=3, bidirectional=True, merge="sum"),
]
VOCABULARY = 31
Clock = Callable[[], float]


def ticking(*seconds: float) -> Clock:
    """A clock by which slices take so long, over and over; it goes on between two slices, too."""
    return _ticks(seconds).__next__


def _ticks(seconds: tuple[float, ...]) -> Iterator[float]:
    now = 0.0
    while True:
        for duration in seconds:
            yield now
            now += duration
            yield now
            now += 3600.0


def spec_of(recurrent: RecurrentSpec, *, tokens: bool, pooling: tuple[str, ...] = ("mean",)) -> NetworkSpec:
    """A network with a head, so that it scores."""
    return NetworkSpec(
        input=TokenInputSpec(vocabulary_size=VOCABULARY, embedding_size=recurrent.input_size)
        if tokens
        else FeatureInputSpec(size=recurrent.input_size),
        recurrent=recurrent,
        pooling=pooling,
        head=HeadSpec(kind="linear", size=3),
    )


def inputs_of(spec: NetworkSpec, lengths: list[int], seed: int = 0) -> list[Tensor]:
    """Random sequences of these lengths."""
    if isinstance(spec.input, TokenInputSpec):
        generator = torch.Generator().manual_seed(seed)
        return [torch.randint(VOCABULARY, (length,), generator=generator) for length in lengths]
    return ragged(lengths, spec.input.size, seed)


@torch.inference_mode()
def drained(work: Generator[None, None, Tensor]) -> tuple[Tensor, int]:
    """The result, and how often it yielded before."""
    for pieces in range(1_000_000):
        try:
            next(work)
        except StopIteration as finished:
            result: Tensor = finished.value
            return result, pieces
    raise AssertionError("it never ends")


def expected_of(spec: NetworkSpec, parameters: dict[str, Tensor], sequences: list[Tensor]) -> Tensor:
    """Each sequence alone through torch's module, pooled."""
    if isinstance(spec.input, TokenInputSpec):
        sequences = [parameters["embedding.weight"][ids] for ids in sequences]
    outputs, ends = reference(spec.recurrent, parameters, sequences)
    kinds = {
        "mean": torch.stack([output.mean(0) for output in outputs]),
        "max": torch.stack([output.amax(0) for output in outputs]),
        "last": ends,
    }
    return torch.cat([kinds[kind] for kind in spec.pooling], dim=1)
