"""Sequences that belong to no session: the continuations of generations under way.

They live in rows of the state table alone. Nothing lists, stores or counts them as sessions, and whoever opened them
has to close them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatehouse_server.engine.job import Wants
from gatehouse_server.engine.observer import Happening, Observer
from gatehouse_server.engine.rows import INITIAL_ROW
from gatehouse_server.errors import InvalidInput, ModelMismatch, Overloaded
from gatehouse_server.models.features import check_features
from gatehouse_server.sessions.continuing import check_continues, check_reaches
from gatehouse_server.sessions.held_rows import HeldRows
from gatehouse_server.sessions.hosted_model import HostedModel
from gatehouse_server.sessions.hosting import Hosts
from gatehouse_server.sessions.inputs import checked_steps
from gatehouse_server.sessions.keeper import Keeper
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.opened_sequences import (
    OpenedSequences,
    SequenceClosed,
    SequenceOutput,
    Standing,
)
from gatehouse_server.sessions.operations import CloseSequence, OpenSequences, StepSequence
from gatehouse_server.sessions.reception import Reception
from gatehouse_server.sessions.revisions import Revised, judge
from gatehouse_server.sessions.session import AcceptedWrite, Session
from gatehouse_server.sessions.steps import Running
from gatehouse_server.sessions.tape import Inputs, TokenTape
from gatehouse_server.sessions.work import Work
from gatehouse_server.sessions.writing import restored

_OUTPUT = Wants(vector=True)
_CONTEXT_TOKENS = 64
_RETRY_SECONDS = 0.5


@dataclass(slots=True)
class _Sequence:
    model: HostedModel
    row: int


class Sequences:
    """Used by the engine thread. At most `limits.max_continuations` are open at a time.

    `untold` is set when one has ended, until somebody has told of it: often nothing else happens afterwards.
    """

    def __init__(
        self,
        *,
        hosts: Hosts,
        reception: Reception,
        keeper: Keeper,
        limits: SessionLimits,
        observer: Observer,
    ) -> None:
        self._hosts = hosts
        self._reception = reception
        self._keeper = keeper
        self._limits = limits
        self._observer = observer
        self._numbers = itertools.count(1)
        self._open: dict[str, _Sequence] = {}
        self._promised = 0
        self.untold = False

    def __len__(self) -> int:
        return len(self._open) + self._promised

    def open(self, operation: OpenSequences, work: Work) -> Running[OpenedSequences]:
        """Begins sequences. The prompt is computed once."""
        self._check_room(operation.count)
        self._promised += operation.count
        try:
            if operation.session_id is None:
                assert operation.model is not None, "the transport refuses a request with neither"
                return (yield from self._begin(self._hosts.get(operation.model), None, operation, work))
            session = yield from self._session(operation.session_id, advances=operation.advance)
            if operation.model not in (None, session.model.key, session.model.name):
                raise ModelMismatch(
                    f"session {session.session_id!r} runs on {session.model.key}, not on {operation.model}. "
                    "Use another session, or leave the model out"
                )
            return (yield from self._begin(session.model, session, operation, work))
        finally:
            self._promised -= operation.count

    def step(self, operation: StepSequence, work: Work) -> Running[SequenceOutput]:
        """One sequence consumes some steps."""
        sequence = self._open[operation.sequence_id]
        pool = sequence.model.rows
        work.computes_on(sequence.model)
        with HeldRows(pool) as rows:
            job = work.job(operation.inputs, sequence.row, rows.take(), _OUTPUT)
            yield job
            pool.release(sequence.row)
            sequence.row = rows.hand_over(job.target_row)
        return SequenceOutput(_vector(job.best[0].vector))

    def close(self, operation: CloseSequence) -> Running[SequenceClosed]:
        """Ends a sequence."""
        sequence = self._open.pop(operation.sequence_id)
        sequence.model.rows.release(sequence.row)
        self.untold = True
        return SequenceClosed()
        yield  # makes this an operation like the others

    def _session(self, session_id: str, *, advances: bool) -> Running[Session]:
        """The session as it is now. If it is to advance, only by the store's word, since it is written at the end."""
        if not advances:
            return (yield from self._reception.current(session_id))
        session = yield from self._reception.present(session_id)
        return (yield from self._reception.afresh(session)) if self._keeper.shared else session

    def _begin(
        self, model: HostedModel, session: Session | None, operation: OpenSequences, work: Work
    ) -> Running[OpenedSequences]:
        check_continues(model, operation)
        prompt = model.no_steps() if operation.prompt is None else checked_steps(model, operation.prompt)
        accepted = None if session is None else _accepted(session, operation)
        position, standing = 0, None
        if session is not None:
            position, revision = (
                (session.position, session.revision + 1)
                if accepted is None
                else (accepted.at, accepted.revision)
            )
            standing = Standing(session.session_id, session.incarnation, revision)
        check_reaches(model, operation, position, len(prompt))
        work.computes_on(model)
        with HeldRows(model.rows) as rows:
            source, steps = INITIAL_ROW, prompt
            if operation.initial is not None:
                source, steps = _set_by_vector(model, operation.initial, prompt, rows)
            elif accepted is not None and accepted.row is not None:
                source = rows.share(accepted.row)
            elif session is not None:
                source, _ = yield from restored(session, position, rows, work)
            if source == INITIAL_ROW and not len(steps):
                # By its rows a model is known to be in use, and that one is nobody's.
                source = rows.take()
                model.engine.write_states([source], model.engine.read_states([INITIAL_ROW]))
            job = work.job(steps, source, rows.take() if len(steps) else source, _OUTPUT)
            yield job
            names = tuple(f"\0sequence-{next(self._numbers)}" for _ in range(operation.count))
            for name in names:
                self._open[name] = _Sequence(model, model.rows.share(job.target_row))
        tape = () if session is None else _tape_end(session, position)
        context = (*tape, *prompt.tolist()) if model.keeps_tokens else ()
        return OpenedSequences(
            sequence_ids=names,
            model=model,
            position=position + len(prompt),
            prompt=prompt,
            context=context[-_CONTEXT_TOKENS:],
            output=_vector(job.best[0].vector),
            standing=standing,
            timing=work.timing(),
        )

    def _check_room(self, count: int) -> None:
        most = self._limits.max_continuations
        if len(self) + count > most:
            self._observer.happened(Happening.REFUSED_CONTINUATIONS_FULL)
            raise Overloaded(
                f"{len(self)} continuations are under way, and {most} may; {count} more were asked for",
                reason="CONTINUATIONS_FULL",
                retry_after_seconds=_RETRY_SECONDS,
            )


def _accepted(session: Session, operation: OpenSequences) -> AcceptedWrite | None:
    """The write that the operation was to make, if it was accepted before. Raises what a write under that revision
    would that is no repetition.
    """
    revision = operation.revision
    if revision is None:
        return None
    assert operation.incarnation is not None, "the transport refuses a revision without an incarnation"
    kept = [write for write in session.recent if write.revision == revision and write.digest is not None]
    # What the write has in it is known only at the end, when it is judged once more.
    content = (kept[0].digest if kept else None) or b""
    return judge(session, Revised(operation.incarnation, revision, content))


def _set_by_vector(
    model: HostedModel, vector: npt.NDArray[np.float32], prompt: Inputs, rows: HeldRows
) -> tuple[int, Inputs]:
    """The row (held) of the state that a vector sets, and the steps to consume from there: those before position 0,
    too.
    """
    assert model.initial is not None, "checked before"
    states = model.initial.of(check_features(vector, expected_width=model.initial.size, field="initial"))
    if not np.isfinite(states).all():
        raise InvalidInput.of_field(
            "initial",
            "the state would become infinite or not a number. Scale the vector down",
            reason="STATE_NOT_FINITE",
        )
    row = rows.take()
    model.engine.write_states([row], states)
    if model.start_id is None:
        return row, prompt
    return row, np.array([model.start_id, *prompt.tolist()], dtype=np.int64)


def _tape_end(session: Session, position: int) -> SequenceOf[int]:
    """The last tokens before a position, as far as they are known."""
    tape = session.tape
    if not isinstance(tape, TokenTape):
        return ()
    end = max(0, position - tape.begin)
    return tape.tokens[max(0, end - _CONTEXT_TOKENS) : end].tolist()


def _vector(output: npt.NDArray[np.float32] | None) -> npt.NDArray[np.float32]:
    assert output is not None, "the whole output was asked for"
    return output
