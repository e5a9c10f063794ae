"""Checking token ids before they reach a model."""

from collections.abc import Sequence

from gatehouse_server.errors import InvalidInput


def check_token_ids(ids: Sequence[int], *, vocabulary_size: int, field: str = "tokens.ids") -> None:
    """Raise `InvalidInput` when there are none, or for the first id outside [0, V)."""
    if not ids:
        raise InvalidInput.of_field(field, "expected at least one token id, got none", reason="EMPTY_INPUT")
    # min and max run in C; the place is looked for only when there is something to report.
    if min(ids) >= 0 and max(ids) < vocabulary_size:
        return
    place = next(index for index, token in enumerate(ids) if not 0 <= token < vocabulary_size)
    raise InvalidInput.of_field(
        f"{field}[{place}]",
        f"expected an id from 0 to {vocabulary_size - 1}, got {ids[place]}",
        reason="TOKEN_OUT_OF_RANGE",
        metadata={"vocabulary_size": str(vocabulary_size), "got": str(ids[place])},
    )
