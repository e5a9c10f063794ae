"""Plain arguments to protobuf messages."""

from __future__ import annotations

import sys
import uuid
from array import array
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias, cast

from gatehouse.v1 import offline_pb2, online_pb2

if TYPE_CHECKING:
    from typing_extensions import Buffer

Features: TypeAlias = "Sequence[Sequence[float]] | Buffer"
"""Feature vectors of consecutive steps: rows of N numbers, or anything that offers a (T, N) float32 buffer.
"""


def suggest(
    text: str,
    *,
    session: str | None,
    model: str | None,
    k: int,
    exclude: Iterable[str],
    extra_words: Iterable[str],
) -> online_pb2.TextSuggestion:
    """A suggestion. TypeError for words that are one string."""
    for name, words in (("exclude", exclude), ("extra_words", extra_words)):
        if isinstance(words, str):
            raise TypeError(
                f"{name} is several words, as [{words!r}], not a string, whose letters would be taken"
            )
    return online_pb2.TextSuggestion(
        session_id=session or "",
        model=model or "",
        text=text,
        k=k,
        exclude=exclude,
        extra_words=extra_words,
    )


def create_session(model: str, session_id: str | None) -> online_pb2.CreateSessionRequest:
    """The creation of a session, under a request id of its own, so that it may be sent again."""
    return online_pb2.CreateSessionRequest(model=model, session_id=session_id or "", request_id=_request_id())


def fork_session(source: str, session_id: str | None, at: int | None) -> online_pb2.ForkSessionRequest:
    """The fork of a session, likewise."""
    return online_pb2.ForkSessionRequest(
        session_id=source, new_session_id=session_id or "", at=at, request_id=_request_id()
    )


def import_session(blob: bytes, session_id: str | None) -> online_pb2.ImportSessionRequest:
    """The import of a session, likewise."""
    return online_pb2.ImportSessionRequest(blob=blob, session_id=session_id or "", request_id=_request_id())


def delete_session(session_id: str) -> online_pb2.DeleteSessionRequest:
    """The end of a session, likewise."""
    return online_pb2.DeleteSessionRequest(session_id=session_id, request_id=_request_id())


def document_options(
    *,
    k: int | None = None,
    truncate: bool = False,
    every_step: bool = False,
    vector: bool = False,
    hidden: bool = False,
    log_likelihood: bool = False,
    activations: bool = False,
) -> offline_pb2.ClassifyOptions:
    """What documents ask back."""
    return offline_pb2.ClassifyOptions(
        k=k,
        truncate=truncate,
        steps=online_pb2.OUTPUT_STEPS_EVERY if every_step else online_pb2.OUTPUT_STEPS_UNSPECIFIED,
        vector=vector,
        hidden=hidden,
        log_likelihood=log_likelihood,
        activations=activations,
    )


def transduce_options(
    *,
    beam_size: int,
    length_penalty: float,
    alternatives: int,
    max_output_steps: int | None,
    truncate: bool,
) -> offline_pb2.TransduceOptions:
    """How outputs are searched for."""
    return offline_pb2.TransduceOptions(
        beam_size=beam_size,
        length_penalty=length_penalty,
        alternatives=alternatives,
        max_output_steps=max_output_steps,
        truncate=truncate,
    )


@lru_cache(maxsize=256)  # callers ask for the same again and again; messages copy it
def outputs(
    *,
    k: int | None,
    every_step: bool,
    scores: bool,
    vector: bool,
    hidden: bool = False,
    activations: bool = False,
) -> online_pb2.OutputOptions | None:
    """What a write asks back; None when it asks for nothing."""
    if k is None and not (scores or vector or hidden or activations):
        return None
    return online_pb2.OutputOptions(
        k=k,
        steps=online_pb2.OUTPUT_STEPS_EVERY if every_step else online_pb2.OUTPUT_STEPS_UNSPECIFIED,
        scores=scores,
        vector=vector,
        hidden=hidden,
        activations=activations,
    )


def feature_sequence(features: Features) -> online_pb2.FeatureSequence:
    """Feature vectors, packed. ValueError when rows differ in length or a buffer is not (T, N) float32."""
    try:
        view = memoryview(cast("Buffer", features))
    except TypeError:
        return _from_rows(cast("Sequence[Sequence[float]]", features))
    if view.shape is None or view.ndim != 2 or view.format not in ("f", "<f"):
        raise ValueError(
            f"a buffer of features must be float32 of shape (steps, features), not {view.format!r} of shape "
            f"{view.shape}"
        )
    return online_pb2.FeatureSequence(width=view.shape[1], values=_little_endian(array("f", view.tobytes())))


def features_bytes(features: Features) -> int:
    """About what `feature_sequence` takes of them; 0 for what it refuses."""
    try:
        return memoryview(cast("Buffer", features)).nbytes
    except TypeError:
        pass
    try:
        return sum(4 * len(row) for row in cast("Sequence[Sequence[float]]", features))
    except TypeError:
        return 0


def set_timeout(
    operation: online_pb2.SessionWrite | online_pb2.TextSuggestion, timeout_seconds: float
) -> None:
    """Tells the server after how long nobody waits for the operation any more."""
    timeout, seconds = operation.timeout, int(timeout_seconds)
    timeout.seconds = seconds
    timeout.nanos = int((timeout_seconds - seconds) * 1e9)


def _request_id() -> str:
    return uuid.uuid4().hex


def _from_rows(rows: Sequence[Sequence[float]]) -> online_pb2.FeatureSequence:
    width = len(rows[0]) if rows else 0
    if any(len(row) != width for row in rows):
        raise ValueError(f"every step must have as many features as the first, {width}")
    values = array("f", (value for row in rows for value in row))
    return online_pb2.FeatureSequence(width=width, values=_little_endian(values))


def _little_endian(values: array[float]) -> bytes:
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()
