"""What a loaded model has to do before anybody relies on it: give one answer by every way that leads to it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from gatehouse_server.models.model import LoadedModel
from gatehouse_server.models.text import TextCodec
from gatehouse_server.network.head import Head
from gatehouse_server.network.network import Network
from gatehouse_server.network.packing import pack, unpack
from gatehouse_server.network.spec import TokenInputSpec
from gatehouse_server.network.state import State

_LENGTHS = (24, 17, 17, 5, 1)
_CHUNK_ENDS = (0, 1, 8, 24)
_LONG = 500
_TOLERANCE = 1e-4
"""Of values near one, for networks whose products did not prove to be independent of the batch to the bit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """`told`: one line, what was compared and how it came out."""

    name: str
    passed: bool
    told: str


def self_test(model: LoadedModel) -> Iterator[Check]:
    """The checks that fit the model, as they are done, on random input that is the same each time."""
    for part, network in model.networks.items():
        for check in _of_network(network):
            yield replace(check, name=f"{part} {check.name}".lstrip())
    if model.text is not None:
        yield _text(model.text)


def _of_network(network: Network) -> Iterator[Check]:
    draw = _Drawn(network)
    if network.spec.recurrent.causal:
        yield _chunks(network, draw)
        yield _documents(network, draw)
    yield _neighbours(network, draw)
    if network.spec.pooling:
        yield _pieces(network, draw)
    yield _finite(network, draw)
    if network.head is not None:
        yield _scores(network, network.head, draw)
    if network.spec.initial is not None:
        yield _initial(network, network.spec.initial.size, draw)
    yield Check(
        name="reproducible",
        passed=True,
        told="every matrix product proved not to depend on what else is computed, to the bit"
        if network.reproducible
        else "not proved: answers may differ in their last digits with what else is computed",
    )


class _Drawn:
    """Random sequences that a network can read."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._generator = torch.Generator().manual_seed(0)

    def sequence(self, steps: int) -> Tensor:
        """Ids (T,) or features (T, N)."""
        source = self._network.spec.input
        if isinstance(source, TokenInputSpec):
            drawn = torch.randint(source.vocabulary_size, (steps,), generator=self._generator)
        else:
            drawn = torch.randn(steps, source.size, generator=self._generator)
        return drawn.to(self._network.device)

    def vectors(self, rows: int, size: int) -> Tensor:
        """Vectors (B, size)."""
        return torch.randn(rows, size, generator=self._generator).to(self._network.device)


def _chunks(network: Network, draw: _Drawn) -> Check:
    sequence = draw.sequence(_LENGTHS[0])

    def outputs(ends: Sequence[int]) -> tuple[Tensor, State]:
        state = network.initial_state(1)
        parts = [
            network.scan(sequence[begin:end], (1,) * (end - begin), state).clone()
            for begin, end in pairwise(ends)
        ]
        return torch.cat(parts), state

    whole, end = outputs((0, len(sequence)))
    difference = 0.0
    for ends in (range(len(sequence) + 1), _CHUNK_ENDS):
        others, other_end = outputs(ends)
        difference = max(difference, _difference(whole, others), *map(_difference, end, other_end))
    return _compared(
        network, "steps", f"{len(sequence)} steps one by one, in chunks, and in one go", difference
    )


def _documents(network: Network, draw: _Drawn) -> Check:
    sequence = draw.sequence(_LENGTHS[0])
    sizes = (1,) * len(sequence)
    grown = network.scan(sequence, sizes, network.initial_state(1)).clone()
    return _compared(
        network,
        "documents",
        "a sequence that grows, and the same as a whole document",
        _difference(grown, network.encode(sequence, sizes)),
    )


def _neighbours(network: Network, draw: _Drawn) -> Check:
    sequences = [draw.sequence(length) for length in _LENGTHS]
    packed = pack(sequences)
    if network.spec.pooling:
        together = list(network.summarize(packed.data, packed.batch_sizes).clone())
        alone = [network.summarize(each, (1,) * len(each))[0].clone() for each in sequences]
    else:
        outputs = network.encode(packed.data, packed.batch_sizes).clone()
        packed_outputs = type(packed)(data=outputs, batch_sizes=packed.batch_sizes)
        together = unpack(packed_outputs)
        alone = [network.encode(each, (1,) * len(each)).clone() for each in sequences]
    return _compared(
        network,
        "neighbours",
        f"{len(sequences)} documents of different lengths together, and each alone",
        max(map(_difference, together, alone)),
    )


def _pieces(network: Network, draw: _Drawn) -> Check:
    packed = pack([draw.sequence(length) for length in _LENGTHS])
    expected = network.summarize(packed.data, packed.batch_sizes).clone()
    reading = network.reader().summarize(packed.data, packed.batch_sizes)
    with torch.inference_mode():
        while True:
            try:
                next(reading)
            except StopIteration as end:
                read: Tensor = end.value
                break
    return _compared(
        network,
        "pieces",
        "documents in one go, and in pieces between other work",
        _difference(expected, read),
        exact=False,  # means are summed in another order
    )


def _finite(network: Network, draw: _Drawn) -> Check:
    sequence = draw.sequence(_LONG)
    outputs = network.encode(sequence, (1,) * _LONG)
    passed = bool(outputs.isfinite().all())
    largest = f"the largest output is {float(outputs.abs().max()):.3g}"
    return Check(
        name="finite",
        passed=passed,
        told=f"{_LONG} random steps: {largest if passed else 'outputs are not finite'}",
    )


@torch.inference_mode()
def _scores(network: Network, head: Head, draw: _Drawn) -> Check:
    sequence = draw.sequence(_LENGTHS[0])
    read = network.summarize if network.spec.pooling else network.encode
    logits = head.logits(read(sequence, (1,) * len(sequence)).clone())
    own = logits[:, : head.size]
    passed = bool(own.isfinite().all())
    told = f"{head.size:,} outputs, all finite" if passed else "outputs of the head are not finite"
    if passed and head.kind == "softmax":
        sums = (own.double() - head.log_normalizer(logits).double().unsqueeze(1)).exp().sum(1)
        error = float((sums - 1).abs().max())
        passed = error <= _TOLERANCE
        told = f"probabilities of {head.size:,} outputs add up to 1, to within {error:.1g}"
    return Check(name="scores", passed=passed, told=told)


def _initial(network: Network, size: int, draw: _Drawn) -> Check:
    vectors = draw.vectors(3, size)
    together, alone = network.state_from(vectors), network.state_from(vectors[:1])
    difference = max(_difference(part[:1], own) for part, own in zip(together, alone, strict=True))
    return _compared(
        network, "initial", f"the state that a vector of {size} values sets, together and alone", difference
    )


def _text(text: TextCodec) -> Check:
    words = text.vocabulary.words
    control = text.vocabulary.control_ids
    numbers = [number for number in range(len(words)) if number not in control and words[number]]
    encoded = text.encode_many([words[number] for number in numbers])
    back = sum(ids == [number] for number, ids in zip(numbers, encoded, strict=True))
    return Check(
        name="text",
        passed=back > 0,
        told=f"{back:,} of {len(numbers):,} tokens, written as text, come back as themselves",
    )


def _difference(first: Tensor, second: Tensor) -> float:
    """The largest, relative to values above one. Infinite where either is not finite."""
    if not (first.isfinite().all() and second.isfinite().all()):
        return float("inf")
    return float(((first - second).abs() / first.abs().clamp(min=1.0)).max())


def _compared(network: Network, name: str, what: str, difference: float, *, exact: bool = True) -> Check:
    allowed = 0.0 if exact and network.reproducible else _TOLERANCE
    same = "the same, to the bit" if difference == 0 else f"the largest difference is {difference:.2g}"
    return Check(name=name, passed=difference <= allowed, told=f"{what}: {same}")
