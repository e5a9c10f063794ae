"""What sessions answer, from plain objects to protobuf.

Messages are filled in place: making submessages and copying them costs twice as much, and this runs once for
each result. Fields whose value is the default are left alone for the same reason.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import MappingProxyType

from gatehouse.v1 import online_pb2, session_pb2

from gatehouse_server.errors import InvalidInput
from gatehouse_server.sessions import results
from gatehouse_server.transport.activations import activations_bytes, fill_activations
from gatehouse_server.transport.durations import fill_duration, fill_timestamp
from gatehouse_server.transport.message_size import MAX_BLOB_BYTES, MAX_RESULT_BYTES

_DURABILITIES: Mapping[results.Durability, session_pb2.Durability.ValueType] = MappingProxyType(
    {
        "none": session_pb2.DURABILITY_NONE,
        "async": session_pb2.DURABILITY_ASYNC,
        "sync": session_pb2.DURABILITY_SYNC,
    }
)

_MANY_WORDS = 10_000
"""Fewer suggestions always fit into a message, and are not measured."""


def fill_write_result(
    message: online_pb2.WriteResult, result: results.WriteResult, now_unix_seconds: float | None = None
) -> None:
    """The answer to a write. `now_unix_seconds` as in `fill_state`."""
    message.session_id = result.session_id
    fill_state(message.state, result.state, now_unix_seconds)
    for step in result.steps:
        _fill_step(message.steps.add(), step)
    if result.scores is not None:
        message.scores.extend(result.scores.tolist())
    if result.token_ids is not None:
        message.token_ids.extend(result.token_ids.tolist())
    if result.repeated:
        message.repeated_write = True
    if result.activations:
        fill_activations(message.activations, result.activations)
        message.token_texts.extend(result.token_texts)
    fill_timing(message.timing, result.timing)


def fill_suggest_result(
    message: online_pb2.SuggestResult, result: results.SuggestResult, now_unix_seconds: float | None = None
) -> None:
    """The answer to a suggestion. `now_unix_seconds` as in `fill_state`. Raises InvalidInput when it fits into no
    message.
    """
    message.session_id = result.session_id
    fill_state(message.state, result.state, now_unix_seconds)
    add = message.suggestions.add
    for suggestion in result.suggestions:
        add(text=suggestion.text, log_probability=suggestion.log_probability)
    if result.prefix:
        message.prefix = result.prefix
    if result.rebuilt:
        message.rebuilt = True
    if result.computed_steps:
        message.computed_steps = result.computed_steps
    fill_timing(message.timing, result.timing)
    if len(result.suggestions) > _MANY_WORDS and (size_bytes := message.ByteSize()) > MAX_RESULT_BYTES:
        raise InvalidInput.of_field(
            "k",
            f"the answer would take {size_bytes} bytes, and a message carries at most {MAX_RESULT_BYTES}. Ask for "
            "fewer words",
            reason="OUTPUTS_TOO_LARGE",
            metadata={"max_bytes": str(MAX_RESULT_BYTES), "got_bytes": str(size_bytes)},
        )


def fill_session(message: session_pb2.Session, view: results.SessionView) -> None:
    """A session with its limits."""
    message.session_id = view.session_id
    message.model = view.model
    fill_state(message.state, view.state)
    message.max_unanswered_writes = view.max_unanswered_writes
    message.max_write_steps = view.max_write_steps
    message.max_tape_steps = view.max_tape_steps
    message.durability = _DURABILITIES[view.durability]


def fill_export(message: online_pb2.ExportSessionResponse, export: results.SessionExport) -> None:
    """A session as bytes. Raises InvalidInput when they do not fit into a message."""
    size_bytes = len(export.blob)
    if size_bytes > MAX_BLOB_BYTES:
        raise InvalidInput.of_field(
            "session_id",
            f"this session takes {size_bytes} bytes, and a message carries at most {MAX_BLOB_BYTES}. Fork it at "
            "an earlier position, and export the fork",
            reason="OUTPUTS_TOO_LARGE",
            metadata={"max_bytes": str(MAX_BLOB_BYTES), "got_bytes": str(size_bytes)},
        )
    message.blob = export.blob
    fill_session(message.session, export.view)


def fill_state(
    message: session_pb2.SessionState, state: results.SessionState, now_unix_seconds: float | None = None
) -> None:
    """Where a session stands. The moment of expiry is counted from now, which whoever has many may tell."""
    message.incarnation = state.incarnation
    message.revision = state.revision
    message.position = state.position
    if state.oldest_restorable_position:
        message.oldest_restorable_position = state.oldest_restorable_position
    if state.durable_revision:
        message.durable_revision = state.durable_revision
    if now_unix_seconds is None:
        now_unix_seconds = time.time()
    fill_timestamp(message.expire_time, now_unix_seconds + state.expires_in_seconds)


def fill_timing(message: online_pb2.Timing, timing: results.Timing) -> None:
    """Where the time went."""
    fill_duration(message.queue, timing.queue_seconds)
    fill_duration(message.compute, timing.compute_seconds)


def weight_bytes(result: object) -> int:
    """About how many bytes a result takes in a message; exact where it can be large."""
    if not isinstance(result, results.WriteResult):
        if not isinstance(result, results.SuggestResult):
            return 512
        # No character has more than four bytes.
        size = 512 + 4 * len(result.prefix)
        for suggestion in result.suggestions:
            size += 16 + 4 * len(suggestion.text)
        return size
    size = 128 if result.scores is None else 128 + 12 * len(result.scores)
    size += activations_bytes(result.activations)
    for step in result.steps:
        size += 8
        if step.best_ids is not None:
            size += 24 * len(step.best_ids)
        if step.vector is not None:
            size += 4 * len(step.vector)
        if step.hidden is not None:
            size += 4 * len(step.hidden)
    return size


def _fill_step(message: online_pb2.StepOutput, step: results.StepOutput) -> None:
    message.position = step.position
    if step.best_ids is not None:
        message.best_ids.extend(step.best_ids.tolist())
    if step.best_log_probabilities is not None:
        message.best_log_probabilities.extend(step.best_log_probabilities.tolist())
    if step.best_texts:
        message.best_texts.extend(step.best_texts)
    if step.vector is not None:
        message.vector = step.vector.astype("<f4", copy=False).tobytes()
    if step.hidden is not None:
        message.hidden = step.hidden.astype("<f4", copy=False).tobytes()
