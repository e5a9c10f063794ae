"""A packed batch, seen from both ends."""

import torch
from gatehouse_server.network.batch import Batch
from gatehouse_server.network.packing import Packed, batch_sizes_of, pack, unpack
from hypothesis import given
from hypothesis import strategies as st

from .oracle import ragged


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=7).map(lambda found: sorted(found)[::-1]))
def test_a_batch_knows_where_turned_sequences_lie(lengths: list[int]) -> None:
    """Each sequence is turned around by itself, in place; turned twice it is as it was."""
    packed = pack(ragged(lengths, 2))
    batch = Batch(packed.batch_sizes, packed.data.shape[0], torch.device("cpu"))
    turned = packed.data[batch.reversal]
    found = unpack(Packed(data=turned, batch_sizes=batch_sizes_of(lengths)))
    assert all(map(torch.equal, found, (sequence.flip(0) for sequence in unpack(packed))))
    assert torch.equal(turned[batch.reversal], packed.data)
