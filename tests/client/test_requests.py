"""Arguments on their way into messages."""

from __future__ import annotations

import struct
from array import array

import pytest
from gatehouse import requests


def test_rows_of_numbers_are_packed() -> None:
    """Lists of numbers become little-endian float32, row by row."""
    message = requests.feature_sequence([[1, 2.5], [3, 4]])
    assert message.width == 2
    assert struct.unpack("<4f", message.values) == (1.0, 2.5, 3.0, 4.0)


def test_a_float32_buffer_is_taken_as_it_is() -> None:
    """Anything that offers a (T, N) float32 buffer goes in without a detour over lists."""
    buffer = memoryview(array("f", [1, 2, 3, 4, 5, 6]).tobytes()).cast("f", (3, 2))
    message = requests.feature_sequence(buffer)
    assert (message.width, struct.unpack("<6f", message.values)) == (2, (1, 2, 3, 4, 5, 6))


def test_other_buffers_are_refused() -> None:
    """A float64 buffer or one without two dimensions is an error that says what is expected."""
    with pytest.raises(ValueError, match="float32"):
        requests.feature_sequence(memoryview(array("d", [1.0, 2.0]).tobytes()).cast("d", (1, 2)))
    with pytest.raises(ValueError, match="float32"):
        requests.feature_sequence(array("f", [1.0]))


def test_no_outputs_asked_is_no_options() -> None:
    """A write that asks for nothing carries no options at all, which is cheapest."""
    assert requests.outputs(k=None, every_step=True, scores=False, vector=False) is None
    options = requests.outputs(k=0, every_step=False, scores=False, vector=False)
    assert options is not None
    assert options.HasField("k")
