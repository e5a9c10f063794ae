"""One session of the fake server: tape, lives, revisions and what a crash leaves of them, as the contract has it."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import grpc
from gatehouse.v1 import online_pb2, session_pb2

from tests.client import fake_model
from tests.client.fake_status import Refusal, refusal

MAX_WRITE_STEPS = 8
ANSWERS_KEPT = 8


@dataclass(kw_only=True)
class Accepted:
    """A write that was applied: its content (None when it came without a revision), its answer, the tape after it."""

    digest: bytes | None
    result: online_pb2.WriteResult
    tape: list[int]


@dataclass
class FakeSession:
    """`lag_writes` is how many of the newest writes are not durable, `begun` the tape that it began with."""

    session_id: str
    model: str
    durability: session_pb2.Durability.ValueType = session_pb2.DURABILITY_NONE
    lag_writes: int = 0
    incarnation: int = 1
    revision: int = 0
    durable_revision: int = 0
    tape: list[int] = field(default_factory=list)
    begun: list[int] = field(default_factory=list)
    accepted: dict[int, Accepted] = field(default_factory=dict)

    def state(self) -> session_pb2.SessionState:
        """Where it stands."""
        state = session_pb2.SessionState(
            incarnation=self.incarnation,
            revision=self.revision,
            position=len(self.tape),
            durable_revision=self.durable_revision,
        )
        state.expire_time.FromSeconds(4_000_000_000)
        return state

    def describe(self) -> session_pb2.Session:
        """It and its limits."""
        return session_pb2.Session(
            session_id=self.session_id,
            model=self.model,
            state=self.state(),
            max_unanswered_writes=ANSWERS_KEPT,
            max_write_steps=MAX_WRITE_STEPS,
            max_tape_steps=1000,
            durability=self.durability,
        )

    def begin_at(self, revision: int, tape: list[int]) -> None:
        """Takes over a tape; that reaches the store before it is answered, if there is one."""
        self.incarnation, self.revision, self.tape = 1000, revision, list(tape)
        self.durable_revision = 0 if self.durability == session_pb2.DURABILITY_NONE else revision
        self.begun = list(tape)

    def begin_new_life(self, *, lost_writes: int = 0) -> None:
        """What another process makes of it: the newest writes are gone, but never a durable one."""
        kept = self.revision - lost_writes
        assert kept >= self.durable_revision, "a durable write cannot get lost"
        for revision in range(kept + 1, self.revision + 1):
            del self.accepted[revision]
        self.tape = list(self.accepted[kept].tape if kept in self.accepted else self.begun)
        self.revision = self.durable_revision = kept
        self.incarnation += 1

    def known(self, write: online_pb2.SessionWrite) -> online_pb2.WriteResult | None:
        """The answer of the accepted write that this one repeats; None when it is the next. Refused otherwise."""
        if write.incarnation != self.incarnation or write.revision > self.revision + 1:
            raise self._refusal(grpc.StatusCode.FAILED_PRECONDITION, "STATE_BEHIND", "the server has less")
        if write.revision == self.revision + 1:
            return None
        known = self.accepted.get(write.revision) if write.revision > self.revision - ANSWERS_KEPT else None
        if known is None or known.digest != digest(write):
            raise self._refusal(grpc.StatusCode.ABORTED, "REVISION_CONFLICT", "taken")
        again = online_pb2.WriteResult()
        again.CopyFrom(known.result)
        again.repeated_write = True
        again.state.incarnation = self.incarnation
        again.state.durable_revision = self.durable_revision
        return again

    def apply(self, write: online_pb2.SessionWrite) -> online_pb2.WriteResult:
        """Moves the tape and the revision."""
        tokens = inputs(write)
        if len(tokens) > MAX_WRITE_STEPS:
            raise refusal(
                grpc.StatusCode.INVALID_ARGUMENT,
                "too many tokens",
                reason="INPUT_TOO_LONG",
                field="write.text",
            )
        at = write.at if write.HasField("at") else len(self.tape)
        if at > len(self.tape):
            raise refusal(
                grpc.StatusCode.INVALID_ARGUMENT,
                "no such position",
                reason="POSITION_OUT_OF_RANGE",
                field="write.at",
            )
        tape = self.tape[:at]
        result = online_pb2.WriteResult(session_id=self.session_id)
        every = write.outputs.steps == online_pb2.OUTPUT_STEPS_EVERY
        for number, token in enumerate(tokens):
            if write.outputs.scores:
                result.scores.append(fake_model.log_probabilities(tape)[token])
                result.token_ids.append(token)
            tape.append(token)
            if every or number == len(tokens) - 1:
                _output(tape, write.outputs, result)
        if not tokens:
            _output(tape, write.outputs, result)
        self.tape = tape
        self.revision += 1
        if self.durability != session_pb2.DURABILITY_NONE:
            self.durable_revision = max(self.durable_revision, self.revision - self.lag_writes)
        result.state.CopyFrom(self.state())
        content = digest(write) if write.HasField("revision") else None
        self.accepted[self.revision] = Accepted(digest=content, result=result, tape=list(tape))
        return result

    def _refusal(self, code: grpc.StatusCode, reason: str, message: str) -> Refusal:
        state = self.state()
        names = ("incarnation", "revision", "position")
        return refusal(
            code, message, reason=reason, metadata={name: str(getattr(state, name)) for name in names}
        )


def inputs(write: online_pb2.SessionWrite) -> list[int]:
    """The tokens of a write."""
    return (
        fake_model.encode(write.text)
        if write.WhichOneof("inputs") == "text"
        else [int(token) for token in write.tokens.ids]
    )


def digest(write: online_pb2.SessionWrite) -> bytes:
    """A write's content: position, decoded inputs and the outputs asked for. Not its life and not its timeout."""
    return repr((write.at, inputs(write), write.outputs.SerializeToString(deterministic=True))).encode()


def _output(tape: list[int], options: online_pb2.OutputOptions, result: online_pb2.WriteResult) -> None:
    if not options.HasField("k") and not options.vector:
        return
    step = result.steps.add(position=len(tape))
    for token, log_probability in fake_model.best(tape, options.k):
        step.best_ids.append(token)
        step.best_log_probabilities.append(log_probability)
        step.best_texts.append(fake_model.VOCABULARY[token])
    if options.vector:
        values = fake_model.log_probabilities(tape)
        step.vector = struct.pack(f"<{len(values)}f", *values)
