"""Token ids are checked before they reach a model."""

import pytest
from gatehouse_server.errors import InvalidInput
from gatehouse_server.models.token_ids import check_token_ids


def test_ids_in_range_pass() -> None:
    """The first and the last id of the vocabulary are in it."""
    check_token_ids([0, 9], vocabulary_size=10)


@pytest.mark.parametrize(
    ("ids", "field", "reason", "told"),
    [
        ([], "tokens.ids", "EMPTY_INPUT", "expected at least one token id, got none"),
        ([0, 10], "tokens.ids[1]", "TOKEN_OUT_OF_RANGE", "expected an id from 0 to 9, got 10"),
        ([-1], "tokens.ids[0]", "TOKEN_OUT_OF_RANGE", "expected an id from 0 to 9, got -1"),
    ],
)
def test_others_are_refused(ids: list[int], field: str, reason: str, told: str) -> None:
    """The first id outside the vocabulary is named with its place and the range."""
    with pytest.raises(InvalidInput) as caught:
        check_token_ids(ids, vocabulary_size=10)
    (violation,) = caught.value.violations
    assert (violation.field, violation.description, caught.value.reason) == (field, told, reason)
