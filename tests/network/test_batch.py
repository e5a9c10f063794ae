"""A packed batch, seen from both ends."""

import torch
from gatehouse_server.network.batch import Batch
from gatehouse_server.network.packing import Packed, batch_sizes_of, lengths_of, pack, unpack
from hypothesis import given
from hypothesis import strategies as st

from .oracle import ragged

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=7).map(lambda found: sorted(found)[::-1])


@given(lengths=LENGTHS)
def test_a_batch_knows_its_steps_from_both_ends(lengths: list[int]) -> None:
    """The rows of each step, in the order of either direction, and how long its sequences are."""
    sizes = tuple(sum(length > step for length in lengths) for step in range(lengths[0]))
    assert batch_sizes_of(lengths) == sizes
    assert lengths_of(sizes) == tuple(lengths)
    batch = Batch(sizes, sum(lengths), torch.device("cpu"))
    forward = [(sum(sizes[:step]), size) for step, size in enumerate(sizes)]
    assert list(batch.steps("forward")) == forward
    assert list(batch.steps("reverse")) == forward[::-1]
    assert batch.lengths.tolist() == lengths
    assert tuple(batch.host_sizes.tolist()) == sizes


@given(lengths=LENGTHS)
def test_a_batch_knows_where_turned_sequences_lie(lengths: list[int]) -> None:
    """Each sequence is turned around by itself, in place; turned twice it is as it was."""
    packed = pack(ragged(lengths, 2))
    batch = Batch(packed.batch_sizes, packed.data.shape[0], torch.device("cpu"))
    turned = packed.data[batch.reversal]
    found = unpack(Packed(data=turned, batch_sizes=batch_sizes_of(lengths)))
    assert all(map(torch.equal, found, (sequence.flip(0) for sequence in unpack(packed))))
    assert torch.equal(turned[batch.reversal], packed.data)
