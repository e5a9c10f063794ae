"""The bare echo answers as many steps as a message holds, and nothing of them is decoded."""

import pytest
from gatehouse.v1 import online_pb2

from benchmarks.echo_server import operations_in
from benchmarks.walkers import Walker


@pytest.mark.parametrize("count", [1, 2, 300])
def test_operations_are_counted_without_decoding(count):
    """Messages of any length, with operations short and long."""
    request = online_pb2.StreamRequest()
    for number in range(count):
        walker = Walker(number, session_id="s" * (number % 200))
        request.operations.append(walker.next_operation())
    assert operations_in(request.SerializeToString()) == count
