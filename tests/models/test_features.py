"""Feature vectors are checked before they reach a model."""

import numpy as np
import pytest
from gatehouse_server.errors import InvalidInput
from gatehouse_server.models.features import check_features, unpack_features


def test_unpack() -> None:
    """Packed little-endian rows become a float32 matrix that may be written to."""
    packed = np.array([[1, 2, 3], [4, 5, 6]], dtype="<f4").tobytes()
    matrix = unpack_features(packed, width=3, expected_width=3)
    assert matrix.dtype == np.float32
    assert matrix.flags.writeable
    assert matrix.tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("packed", "width", "field", "reason", "told"),
    [
        (
            b"\0" * 8,
            2,
            "features.width",
            "WRONG_WIDTH",
            "expected 3 values per step, as the model takes them, got 2",
        ),
        (b"", 3, "features.values", "EMPTY_INPUT", "expected at least one step, got none"),
        (
            b"\0" * 13,
            3,
            "features.values",
            "WRONG_WIDTH",
            "expected whole steps of 12 bytes (3 float32 values), got 13 bytes",
        ),
        (
            np.array([0, 0, 0, 0, np.nan, 0], dtype="<f4").tobytes(),
            3,
            "features.values[1][1]",
            "FEATURES_NOT_FINITE",
            "expected a finite float32 value, got nan",
        ),
        (
            np.array([0, 0, -np.inf], dtype="<f4").tobytes(),
            3,
            "features.values[0][2]",
            "FEATURES_NOT_FINITE",
            "expected a finite float32 value, got -inf",
        ),
    ],
)
def test_unpack_refuses(packed: bytes, width: int, field: str, reason: str, told: str) -> None:
    """Each defect names its field, the value and what is allowed."""
    with pytest.raises(InvalidInput) as caught:
        unpack_features(packed, width=width, expected_width=3)
    (violation,) = caught.value.violations
    assert (violation.field, violation.description, caught.value.reason) == (field, told, reason)


@pytest.mark.parametrize(
    ("matrix", "reason", "told"),
    [
        ([[1, 2]], "WRONG_WIDTH", "expected shape (T, 3), got (1, 2)"),
        ([1, 2, 3], "WRONG_WIDTH", "expected shape (T, 3), got (3)"),
        (np.zeros((0, 3)), "EMPTY_INPUT", "expected at least one step, got none"),
        ([[1, 2, 1e300]], "FEATURES_NOT_FINITE", "expected a finite float32 value, got inf"),
        ([["a", 2, 3]], "INVALID_INPUT", "expected a matrix of numbers"),
        ([[1, 2, 3], [1]], "INVALID_INPUT", "expected a matrix of numbers"),
    ],
)
def test_matrix_is_refused(matrix: object, reason: str, told: str) -> None:
    """Arrays of callers in the same process are checked alike, float64 beyond float32's range included."""
    with pytest.raises(InvalidInput) as caught:
        check_features(matrix, expected_width=3)  # type: ignore[arg-type]
    assert caught.value.reason == reason
    assert told in str(caught.value)


def test_matrix_becomes_float32() -> None:
    """Numbers of other types are converted."""
    matrix = check_features([[1, 2, 3]], expected_width=3)
    assert matrix.dtype == np.float32
    assert matrix.tolist() == [[1, 2, 3]]
