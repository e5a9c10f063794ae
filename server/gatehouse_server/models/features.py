"""Checking feature vectors before they reach a model."""

import numpy as np
import numpy.typing as npt

from gatehouse_server.errors import InvalidInput

FeatureMatrix = npt.NDArray[np.float32]
"""Shape (T, N)."""

_FLOAT_BYTES = 4


def unpack_features(
    packed: bytes, *, width: int, expected_width: int, field: str = "features"
) -> FeatureMatrix:
    """The (T, N) matrix of float32 values packed row by row, little-endian.

    `width` is what the caller says a row has, `expected_width` what the model takes. Raises `InvalidInput`
    when they differ, when the bytes are no whole rows, when there are none, or when a value is not finite.
    """
    if width != expected_width:
        raise InvalidInput.of_field(
            f"{field}.width",
            f"expected {expected_width} values per step, as the model takes them, got {width}",
            reason="WRONG_WIDTH",
            metadata={"expected": str(expected_width), "got": str(width)},
        )
    if not packed:
        raise InvalidInput.of_field(
            f"{field}.values", "expected at least one step, got none", reason="EMPTY_INPUT"
        )
    row_bytes = _FLOAT_BYTES * width
    if len(packed) % row_bytes:
        raise InvalidInput.of_field(
            f"{field}.values",
            f"expected whole steps of {row_bytes} bytes ({width} float32 values), got {len(packed)} bytes",
            reason="WRONG_WIDTH",
        )
    # frombuffer gives a read-only view of the message; the copy is aligned, writable and of the machine's
    # order.
    matrix = np.frombuffer(packed, dtype="<f4").reshape(-1, width).astype(np.float32)
    return _finite(matrix, f"{field}.values")


def check_features(matrix: npt.ArrayLike, *, expected_width: int, field: str = "features") -> FeatureMatrix:
    """`matrix` as float32 (T, N), for callers in the same process. Raises `InvalidInput` as `unpack_features`
    does.
    """
    try:
        # A float64 beyond float32's range becomes infinite, which is told below, not as a warning.
        with np.errstate(over="ignore"):
            values = np.asarray(matrix, dtype=np.float32)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidInput.of_field(field, f"expected a matrix of numbers, got {error}") from error
    if values.ndim != 2 or values.shape[1] != expected_width:
        raise InvalidInput.of_field(
            field,
            f"expected shape (T, {expected_width}), got ({', '.join(map(str, values.shape))})",
            reason="WRONG_WIDTH",
        )
    if not len(values):
        raise InvalidInput.of_field(field, "expected at least one step, got none", reason="EMPTY_INPUT")
    return _finite(values, field)


def _finite(matrix: FeatureMatrix, field: str) -> FeatureMatrix:
    finite = np.isfinite(matrix)
    if not finite.all():
        step, column = (int(index) for index in np.argwhere(~finite)[0])
        raise InvalidInput.of_field(
            f"{field}[{step}][{column}]",
            f"expected a finite float32 value, got {matrix[step, column]}",
            reason="FEATURES_NOT_FINITE",
            metadata={"step": str(step), "column": str(column)},
        )
    return matrix
