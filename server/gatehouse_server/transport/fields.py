"""Fields that several requests have, checked for form. Every refusal names the field, its value and what is allowed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gatehouse_server.errors import InvalidInput
from gatehouse_server.sessions.operations import Features, Tokens

MAX_WORDS = 256
"""The most words that a request may exclude or bring; each costs time while everybody else waits."""

_FLOAT_BYTES = 4
_LONGEST_NAME = 128
_LONGEST_IDENTIFIER = 128


def check_session_id(session_id: str, field: str = "session_id") -> None:
    """Raises InvalidInput unless it is 1 to 128 printable ASCII characters without spaces."""
    if not (
        0 < len(session_id) <= _LONGEST_IDENTIFIER
        and session_id.isascii()
        and session_id.isprintable()
        and " " not in session_id
    ):
        got = "nothing" if not session_id else f"{len(session_id)} characters: {session_id[:40]!r}"
        raise InvalidInput.of_field(
            field, f"expected 1 to 128 printable ASCII characters without spaces, got {got}"
        )


def check_position(at: int) -> None:
    """Raises InvalidInput when a position is negative; whether the tape has it, sessions know."""
    if at < 0:
        raise InvalidInput.of_field(
            "at", f"expected 0 up to the session's position, got {at}", reason="POSITION_OUT_OF_RANGE"
        )


def check_model(model: str) -> None:
    """Raises InvalidInput when no model is named."""
    if not model:
        raise InvalidInput.of_field("model", "expected `name` or `name@version`, got nothing")
    check_name(model, "model")


def check_text(text: str, field: str, max_text_bytes: int) -> None:
    """Raises InvalidInput when a text is longer than a message may carry."""
    if len(text) * 4 <= max_text_bytes:  # no character has more than four bytes
        return
    size_bytes = len(text.encode("utf-8", "surrogatepass"))
    if size_bytes > max_text_bytes:
        raise InvalidInput.of_field(
            field,
            f"expected at most {max_text_bytes} bytes of UTF-8, got {size_bytes}",
            reason="INPUT_TOO_LONG",
            metadata={"max_bytes": str(max_text_bytes), "got_bytes": str(size_bytes)},
        )


def decode_tokens(ids: Sequence[int], max_write_steps: int) -> Tokens:
    """Token ids as (T,). Raises InvalidInput unless they are at least one and at most as many as a write may have. They
    are counted before they are read: reading millions would take a second of everybody's time.
    """
    if not ids:
        raise InvalidInput.of_field(
            "tokens.ids", "expected at least one token id, got none", reason="EMPTY_INPUT"
        )
    if len(ids) > max_write_steps:
        raise InvalidInput.of_field(
            "tokens.ids",
            f"{len(ids)} steps in one write, and at most {max_write_steps} are allowed. Send several writes",
            reason="INPUT_TOO_LONG",
        )
    return np.array(ids[:], np.int64)  # the slice is a list, which numpy takes in sooner than the field


def decode_features(width: int, values: bytes, field: str) -> Features:
    """Packed feature vectors as (T, N). Raises InvalidInput unless they are at least one whole row."""
    if width < 1:
        raise InvalidInput.of_field(
            f"{field}.width", f"expected at least 1 value per step, got {width}", reason="WRONG_WIDTH"
        )
    if not values:
        raise InvalidInput.of_field(
            f"{field}.values", "expected at least one step, got none", reason="EMPTY_INPUT"
        )
    if len(values) % (width * _FLOAT_BYTES):
        raise InvalidInput.of_field(
            f"{field}.values",
            f"expected a multiple of {width * _FLOAT_BYTES} bytes ({width} float32 values a step), "
            f"got {len(values)}",
            reason="WRONG_WIDTH",
        )
    return np.frombuffer(values, dtype="<f4").reshape(-1, width)


def check_k(k: int, field: str) -> None:
    """Raises InvalidInput unless at least one output is asked for."""
    if k < 1:
        raise InvalidInput.of_field(
            field, f"expected 1 to the number of the model's outputs, got {k}", reason="K_OUT_OF_RANGE"
        )


def check_name(name: str, field: str) -> None:
    """Raises InvalidInput when a name is longer than any can be."""
    if len(name) > _LONGEST_NAME:
        raise InvalidInput.of_field(field, f"expected at most {_LONGEST_NAME} characters, got {len(name)}")


def decode_words(given: Sequence[str], field: str, max_text_bytes: int) -> tuple[str, ...]:
    """The words. Raises InvalidInput when they are too many or too long together, or one is empty."""
    if len(given) > MAX_WORDS:
        raise InvalidInput.of_field(
            field, f"expected at most {MAX_WORDS} words, got {len(given)}", reason="INPUT_TOO_LONG"
        )
    words = tuple(given)
    size = sum(map(len, words))
    if size * 4 > max_text_bytes and sum(len(word.encode()) for word in words) > max_text_bytes:
        raise InvalidInput.of_field(
            field,
            f"expected at most {max_text_bytes} bytes of UTF-8 in all words together, got more",
            reason="INPUT_TOO_LONG",
        )
    for index, word in enumerate(words):
        if not word:
            raise InvalidInput.of_field(f"{field}[{index}]", "expected a word, got an empty one")
    return words
