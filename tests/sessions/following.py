"""Whether an answer follows from the tape."""

import numpy as np
from gatehouse_server.sessions.results import WriteResult

from tests.sessions.plain_networks import PlainNetwork


def assert_follows(result: WriteResult, oracle: PlainNetwork, tape: list[int]) -> None:
    """The last full output of a result is the network's over the tape."""
    expected = oracle.log_probabilities(tape)[-1].numpy()
    assert result.steps[-1].vector is not None
    np.testing.assert_allclose(result.steps[-1].vector, expected, atol=1e-5)
