"""What a write does, from the check to the commit, told in the order in which it happens.

An operation is a generator: it yields the jobs that it needs computed and is resumed when each is done. Whatever
ends it early (a failed job, a deleted session), the rows it holds are given back and the session stays as it was.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

import numpy as np

from gatehouse_server.engine.job import NOTHING, Best, Job, Wants
from gatehouse_server.engine.observer import Happening, Observer
from gatehouse_server.engine.rows import RowPool
from gatehouse_server.errors import InvalidInput, PositionNotRetained, PrecedingWriteRefused
from gatehouse_server.sessions.inputs import (
    Inputs,
    check_output_size,
    check_outputs,
    check_tape_length,
    checked_inputs,
)
from gatehouse_server.sessions.operations import OutputRequest, RefusedWrite, Write
from gatehouse_server.sessions.results import StepOutput, WriteResult
from gatehouse_server.sessions.revisions import Revised, digest, judge, standing
from gatehouse_server.sessions.session import AcceptedWrite, Session
from gatehouse_server.sessions.work import Work

R = TypeVar("R")

Running = Generator[Job, None, R]


class HeldRows:
    """Rows that an operation holds; what is not handed over is given back when the operation ends."""

    def __init__(self, pool: RowPool) -> None:
        self._pool = pool
        self._held: list[int] = []

    def take(self) -> int:
        """A free row."""
        return self._keep(self._pool.take())

    def share(self, row: int) -> int:
        """One more hold on a row."""
        return self._keep(self._pool.share(row))

    def hand_over(self, row: int) -> int:
        """The row is now somebody else's to give back."""
        self._held.remove(row)
        return row

    def __enter__(self) -> HeldRows:
        return self

    def __exit__(self, *failure: object) -> None:
        while self._held:
            self._pool.release(self._held.pop())

    def _keep(self, row: int) -> int:
        self._held.append(row)
        return row


def write(session: Session, operation: Write, work: Work, observer: Observer) -> Running[WriteResult]:
    """Runs a write. Raises what the contract says of refused writes."""
    model = session.model
    inputs = checked_inputs(model, operation)
    check_outputs(model, operation.outputs)
    check_output_size(model, operation.outputs, len(inputs))
    at = session.position if operation.at is None else operation.at
    content = None
    if operation.revision is not None:
        assert operation.incarnation is not None, "the transport refuses a revision without an incarnation"
        content = digest(at, inputs, operation.outputs)
        claim = Revised(incarnation=operation.incarnation, revision=operation.revision, digest=content)
        accepted = judge(session, claim)
        if accepted is not None:
            observer.happened(Happening.WRITE_REPEATED)
            work.answer_at_any_time()
            return (yield from _answer_again(session, accepted, inputs, operation.outputs, work))
        if session.lost_before(work.ticket):
            raise PrecedingWriteRefused(
                "another writer's write was accepted before this one was sent. Look where the session stands",
                metadata=standing(session),
            )
    work.begin()
    if not 0 <= at <= session.position:
        raise InvalidInput.of_field(
            "at",
            f"{at} is not on the tape, which goes from 0 to {session.position}",
            reason="POSITION_OUT_OF_RANGE",
            metadata=standing(session),
        )
    check_tape_length(model, at + len(inputs))
    with HeldRows(session.model.rows) as rows:
        rewinds = at < session.position
        source = yield from restored(session, at, rows, work)
        outputs, target = yield from _compute(session, source, inputs, operation.outputs, rows, work)
        session.accept(
            at=at,
            tokens=inputs.tolist() if model.keeps_tokens else (),
            steps=len(inputs),
            source_row=rows.hand_over(source),
            new_row=rows.hand_over(target),
            digest=content,
        )
    if rewinds:
        observer.happened(Happening.REWOUND)
    return _result(session, at, inputs, operation.outputs, outputs, work, repeated=None)


def refuse(operation: RefusedWrite) -> Running[WriteResult]:
    """Ends as the operation says, in its turn."""
    raise operation.error
    yield  # makes this an operation like the others


def restored(session: Session, position: int, rows: HeldRows, work: Work) -> Running[int]:
    """A held row with the state of the present tape at `position`: a kept one, or recomputed from the nearest.

    Raises PositionNotRetained when it is not kept and the model's inputs are not on the tape.
    """
    kept, row = session.nearest_kept(position)
    if kept == position:
        return rows.share(row)
    if not session.model.keeps_tokens:
        positions = sorted({0, session.position, *(write.at for write in session.recent if write.on_tape)})
        raise PositionNotRetained(
            f"the state at position {position} is not kept. Positions that are: {', '.join(map(str, positions))}",
            metadata={
                **standing(session),
                "oldest_restorable_position": str(session.oldest_restorable_position),
            },
        )
    target = rows.take()
    yield work.job(
        inputs=session.tokens(kept, position), source_row=rows.share(row), target_row=target, wants=NOTHING
    )
    return target


def _compute(
    session: Session, source: int, inputs: Inputs, outputs: OutputRequest, rows: HeldRows, work: Work
) -> Running[tuple[Job | None, int]]:
    """Runs the steps from `source`; the job with its outputs, if one was needed, and the row of the new state."""
    wants = Wants(
        k=outputs.k or 0, every_step=outputs.every_step, scores=outputs.scores, vector=outputs.vector
    )
    if not len(inputs):
        target = rows.share(source)
        if not wants.per_step:
            return None, target
    else:
        target = rows.take()
    job = work.job(inputs=inputs, source_row=source, target_row=target, wants=wants)
    yield job
    return job, target


def _answer_again(
    session: Session, accepted: AcceptedWrite, inputs: Inputs, outputs: OutputRequest, work: Work
) -> Running[WriteResult]:
    """The answer of an accepted write, computed once more from the state before it; nothing moves."""
    with HeldRows(session.model.rows) as rows:
        job = None
        if outputs.k is not None or outputs.scores or outputs.vector:
            job, _ = yield from _compute(session, rows.share(accepted.row), inputs, outputs, rows, work)
    return _result(session, accepted.at, inputs, outputs, job, work, repeated=accepted)


def _result(
    session: Session,
    at: int,
    inputs: Inputs,
    outputs: OutputRequest,
    job: Job | None,
    work: Work,
    *,
    repeated: AcceptedWrite | None,
) -> WriteResult:
    best = [] if job is None else job.best
    first = at + 1 if outputs.every_step and len(inputs) else at + len(inputs)
    return WriteResult(
        session_id=session.session_id,
        state=work.state(session, repeated),
        timing=work.timing(),
        steps=tuple(_step(session, first + index, step) for index, step in enumerate(best)),
        scores=np.array(job.scores, dtype=np.float32) if job is not None and outputs.scores else None,
        token_ids=inputs.astype(np.int64) if outputs.scores else None,
        repeated=repeated is not None,
    )


def _step(session: Session, position: int, best: Best) -> StepOutput:
    texts = () if best.ids is None else tuple(session.model.texts(number) for number in best.ids.tolist())
    return StepOutput(
        position=position,
        best_ids=best.ids,
        best_log_probabilities=best.values,
        best_texts=texts,
        vector=best.vector,
    )
