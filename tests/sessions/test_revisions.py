"""What makes two writes the same write."""

import numpy as np
import pytest
from gatehouse_server.sessions.operations import OutputRequest
from gatehouse_server.sessions.revisions import digest


@pytest.mark.parametrize(
    ("at", "inputs", "outputs", "expected"),
    [
        (7, np.array([3]), OutputRequest(k=5), "9b72182c09f3dc17e82c55547108f862"),
        (
            0,
            np.arange(4)[::2],
            OutputRequest(every_step=True, scores=True),
            "e0244626ff29e530530a2b11f1b0de76",
        ),
        (
            12,
            np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
            OutputRequest(vector=True),
            "eceeaee0e58df31aea78cbfbc704dfb1",
        ),
        (12, np.empty(0, dtype=np.int64), OutputRequest(), "97269c129d6b5bf079beac6fc44781d7"),
    ],
)
def test_the_digest_of_a_write_never_changes(at, inputs, outputs, expected):
    """Stored sessions have digests: a repeated write has to be known again by a server of another version."""
    assert digest(at, inputs, outputs).hex() == expected


@pytest.mark.parametrize(
    ("at", "inputs", "outputs"),
    [
        (8, [3], OutputRequest(k=5)),
        (7, [4], OutputRequest(k=5)),
        (7, [3, 3], OutputRequest(k=5)),
        (7, [3], OutputRequest(k=4)),
        (7, [3], OutputRequest(k=5, vector=True)),
    ],
)
def test_another_position_input_or_output_makes_another_write(at, inputs, outputs):
    """A revision stands for one write: whatever is asked differently under it is a conflict."""
    assert digest(at, np.array(inputs), outputs) != digest(7, np.array([3]), OutputRequest(k=5))
