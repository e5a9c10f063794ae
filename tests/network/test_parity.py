"""The network computes what the equations of its cells say, which for some are those of torch's modules."""

import torch
from gatehouse_server.network.network import Network
from gatehouse_server.network.packing import Packed, pack, unpack
from gatehouse_server.network.spec import (
    FeatureInputSpec,
    HeadSpec,
    NetworkSpec,
    RecurrentSpec,
    TokenInputSpec,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.network.recurrents import mixed_stacks, recurrents

from .oracle import ragged, random_parameters, reference, reference_state

_TOLERANCE = 1e-5
_lengths = st.lists(st.integers(1, 9), min_size=1, max_size=7).map(lambda lengths: sorted(lengths)[::-1])


def _close(actual: torch.Tensor, expected: torch.Tensor) -> bool:
    """Within 1e-5, or of the largest value's 1e-5 where rectifiers let it grow beyond 1."""
    scale = max(1.0, float(expected.abs().max()))
    return actual.shape == expected.shape and float((actual - expected).abs().max()) <= _TOLERANCE * scale


@settings(deadline=None, max_examples=60)
@given(
    recurrent=recurrents(both=False) | mixed_stacks(causal=True),
    lengths=_lengths,
    seed=st.integers(0, 1000),
    recorded=st.booleans(),
)
def test_scan_equals_the_equations(
    recurrent: RecurrentSpec, lengths: list[int], seed: int, recorded: bool
) -> None:
    """A scan over ragged sequences gives their outputs and leaves their state behind, for every cell."""
    spec = NetworkSpec(input=FeatureInputSpec(size=recurrent.input_size), recurrent=recurrent)
    parameters = random_parameters(spec, seed)
    network = Network.build(spec, parameters)
    if recorded:
        network.record()
    sequences = ragged(lengths, recurrent.input_size, seed)
    packed = pack(sequences)
    state = network.initial_state(len(lengths))
    outputs = network.scan(packed.data, packed.batch_sizes, state)
    expected, _ = reference(recurrent, parameters, sequences)
    for actual, output in zip(
        unpack(Packed(data=outputs, batch_sizes=packed.batch_sizes)), expected, strict=True
    ):
        assert _close(actual, output)
    for row, sequence in enumerate(sequences):
        for part, wanted in zip(state, reference_state(recurrent, parameters, sequence), strict=True):
            assert _close(part[row], wanted)


@settings(deadline=None, max_examples=60)
@given(
    recurrent=recurrents() | mixed_stacks(),
    lengths=_lengths,
    pooling=st.lists(st.sampled_from(["last", "mean", "max"]), min_size=1, unique=True).map(tuple),
    seed=st.integers(0, 1000),
)
def test_encode_and_pooling_equal_the_equations(
    recurrent: RecurrentSpec, lengths: list[int], pooling: tuple[str, ...], seed: int
) -> None:
    """Ragged sequences, all directions, merges and poolings: what the equations give for each one alone."""
    spec = NetworkSpec(
        input=FeatureInputSpec(size=recurrent.input_size), recurrent=recurrent, pooling=pooling
    )
    parameters = random_parameters(spec, seed)
    network = Network.build(spec, parameters)
    sequences = ragged(lengths, recurrent.input_size, seed)
    packed = pack(sequences)
    expected, ends = reference(recurrent, parameters, sequences)
    outputs = network.encode(packed.data, packed.batch_sizes).clone()
    for actual, output in zip(
        unpack(Packed(data=outputs, batch_sizes=packed.batch_sizes)), expected, strict=True
    ):
        assert _close(actual, output)
    pooled = {
        "last": ends,
        "mean": torch.stack([output.mean(dim=0) for output in expected]),
        "max": torch.stack([output.amax(dim=0) for output in expected]),
    }
    summary = network.summarize(packed.data, packed.batch_sizes)
    assert _close(summary, torch.cat([pooled[kind] for kind in pooling], dim=1))
    top = recurrent.layers[-1]
    if top.direction != "both" or top.merge == "concat" or "last" not in pooling:
        assert torch.equal(network.pool(outputs, packed.batch_sizes), summary)


@settings(deadline=None, max_examples=20)
@given(
    cell=st.sampled_from(["lstm", "gru"]),
    both=st.booleans(),
    tied=st.booleans(),
    folded=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_tokens_and_head(cell: str, both: bool, tied: bool, folded: bool, seed: int) -> None:
    """Token input, folded or not, and a tied or separate head equal torch's embedding, module and matrix."""
    width = 12 if tied else 9
    recurrent = RecurrentSpec.uniform(
        cell=cell, input_size=width, hidden_size=6 if both else 12, bidirectional=both
    )
    head = HeadSpec(kind="softmax", size=37, tied=tied)
    spec = NetworkSpec(
        input=TokenInputSpec(vocabulary_size=37, embedding_size=width), recurrent=recurrent, head=head
    )
    parameters = random_parameters(spec, seed)
    network = Network.build(spec, parameters, fold_limit_bytes=2**20 if folded else 0)
    assert (network.folded_bytes > 0) is folded
    ids = torch.randint(37, (8,), generator=torch.Generator().manual_seed(seed))
    outputs = network.encode(ids, (1,) * 8)
    (expected,), _ = reference(recurrent, parameters, [parameters["embedding.weight"][ids]])
    assert _close(outputs, expected)
    assert network.head is not None
    weight = parameters["embedding.weight" if tied else "head.weight"]
    logits = network.head.logits(outputs)
    assert _close(logits[:, :37], expected @ weight.T + parameters["head.bias"])
    assert bool((logits[:, 37:] == -torch.inf).all())


def test_half_precision_parameters_are_computed_in_single_precision() -> None:
    """float16 weights give the result of the same weights widened to float32."""
    recurrent = RecurrentSpec.uniform(cell="lstm", input_size=5, hidden_size=7)
    spec = NetworkSpec(input=FeatureInputSpec(size=5), recurrent=recurrent)
    halves = {name: tensor.half() for name, tensor in random_parameters(spec).items()}
    singles = {name: tensor.float() for name, tensor in halves.items()}
    x = torch.randn(4, 5)
    state = Network.build(spec, halves).layout.zeros(4)
    assert torch.equal(
        Network.build(spec, halves).step(x, state)[0], Network.build(spec, singles).step(x, state)[0]
    )
