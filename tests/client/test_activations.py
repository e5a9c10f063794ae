"""Hidden vectors and activations on their way through the client."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from gatehouse import decoding
from gatehouse.activations import of_layers
from gatehouse.v1 import online_pb2

from tests.client.fake_server import FakeServer


def packed(*values: float) -> bytes:
    """Little-endian float32."""
    return struct.pack(f"<{len(values)}f", *values)


def layer(**fields: Any) -> online_pb2.LayerActivations:
    """Two quantities of a layer at three steps."""
    return online_pb2.LayerActivations(
        activations=[
            online_pb2.Activation(name="update", width=2, values=packed(0.0, 0.25, 0.5, 0.75, 1.0, 0.125)),
            online_pb2.Activation(name="hidden", width=1, values=packed(-1.0, 0.5, 1.0)),
        ],
        **fields,
    )


def test_activations_have_a_row_for_each_step_and_a_column_for_each_unit() -> None:
    """Values stand by layer, direction and name; a name that a cell has not is a KeyError."""
    lowest, top = of_layers([layer(), layer(layer=1, reverse=True)])
    assert (lowest.layer, lowest.reverse, top.layer, top.reverse) == (0, False, 1, True)
    assert [(each.name, each.steps, each.width) for each in top.activations] == [
        ("update", 3, 2),
        ("hidden", 3, 1),
    ]
    assert np.asarray(top["update"]).tolist() == [[0.0, 0.25], [0.5, 0.75], [1.0, 0.125]]
    assert top["update"][1, 0] == 0.5
    assert top["hidden"].readonly
    with pytest.raises(KeyError):
        top["forget"]


@pytest.mark.parametrize(("width", "values"), [(2, packed(1.0)), (0, packed(1.0)), (1, b""), (1, b"abc")])
def test_values_that_are_no_whole_rows_are_refused(width: int, values: bytes) -> None:
    """Rather than being told in the wrong shape."""
    message = online_pb2.LayerActivations(
        activations=[online_pb2.Activation(name="hidden", width=width, values=values)]
    )
    with pytest.raises(ValueError, match="are not rows of"):
        of_layers([message])


def test_an_answer_tells_what_went_on_inside() -> None:
    """The hidden vector of each step, the activations and the tokens that they belong to."""
    message = online_pb2.WriteResult(
        steps=[online_pb2.StepOutput(position=3, hidden=packed(0.5, -0.5))],
        activations=[layer()],
        token_ids=[4, 5, 6],
        token_texts=["how", "are", "you"],
    )
    result = decoding.write_result(message)
    assert result.hidden is not None
    assert (result.hidden.tolist(), result.vector, result.best) == ([0.5, -0.5], None, ())
    assert (result.token_ids, result.token_texts) == ((4, 5, 6), ("how", "are", "you"))
    assert np.asarray(result.activations[0]["hidden"]).tolist() == [[-1.0], [0.5], [1.0]]
    bare = decoding.write_result(online_pb2.WriteResult())
    assert (bare.hidden, bare.activations, bare.token_texts) == (None, (), ())


def test_a_write_asks_for_what_is_wanted(client: Any, server: FakeServer) -> None:
    """Hidden vectors and activations are asked for by name, in every call that writes."""
    asked: list[tuple[bool, bool, int]] = []
    server.online.on_write = lambda write: asked.append(
        (write.outputs.hidden, write.outputs.activations, write.outputs.steps)
    )
    session = client.session("keyboard")
    session.append(text="how", hidden=True)
    session.write(at=1, text="are", activations=True)
    session.append(text="how", hidden=True, activations=True, every_step=True)
    session.rewind(to=1, hidden=True)
    session.start_over(hidden=True)
    assert asked == [
        (True, False, online_pb2.OUTPUT_STEPS_UNSPECIFIED),
        (False, True, online_pb2.OUTPUT_STEPS_UNSPECIFIED),
        (True, True, online_pb2.OUTPUT_STEPS_EVERY),
        (True, False, online_pb2.OUTPUT_STEPS_UNSPECIFIED),
        (True, False, online_pb2.OUTPUT_STEPS_UNSPECIFIED),
    ]
