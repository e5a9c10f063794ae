"""What a write does, from the check to the commit, told in the order in which it happens.

Whatever ends an operation early (a failed job, a caller that is turned away), the rows it holds are given back and the
session stays as it was.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gatehouse_server.engine.job import NOTHING, Best, Job, Wants
from gatehouse_server.engine.looking import LayerActivations
from gatehouse_server.engine.observer import Happening, Observer
from gatehouse_server.errors import InvalidInput, PositionNotRetained, PrecedingWriteRefused, SessionMoved
from gatehouse_server.sessions.held_rows import HeldRows
from gatehouse_server.sessions.inputs import check_tape_length, checked_inputs
from gatehouse_server.sessions.keeper import Keeper
from gatehouse_server.sessions.looking import activations_of, token_texts
from gatehouse_server.sessions.operations import OutputRequest, RefusedWrite, Write
from gatehouse_server.sessions.outputs import answering, check_output_size
from gatehouse_server.sessions.results import StepOutput, WriteResult
from gatehouse_server.sessions.revisions import Revised, digest, judge, standing
from gatehouse_server.sessions.session import AcceptedWrite, Checkpoint, Session
from gatehouse_server.sessions.steps import Running
from gatehouse_server.sessions.tape import Inputs
from gatehouse_server.sessions.work import Work


@dataclass(slots=True)
class Advance:
    """Steps that were computed: the jobs that did it, the row (held) of the state after them, states to keep, and what
    went on inside if that was asked for.
    """

    jobs: list[Job]
    row: int
    checkpoints: list[Checkpoint]
    activations: tuple[LayerActivations, ...] = ()

    @property
    def best(self) -> list[Best]:
        """The answers at the steps that outputs were wanted at."""
        if len(self.jobs) == 1:
            return self.jobs[0].best
        return [best for job in self.jobs for best in job.best]

    @property
    def scores(self) -> list[float]:
        """One score for each step."""
        return [score for job in self.jobs for score in job.scores]


def write(
    session: Session, operation: Write, work: Work, keeper: Keeper, observer: Observer
) -> Running[WriteResult]:
    """Runs a write. Raises what the contract says of refused writes."""
    model, tape, outputs = session.model, session.tape, operation.outputs
    inputs = checked_inputs(model, operation)
    answered = answering(model, outputs)
    check_output_size(model, answered, len(inputs))
    at = tape.end if operation.at is None else operation.at
    content = None
    if operation.revision is not None:
        assert operation.incarnation is not None, "the transport refuses a revision without an incarnation"
        content = digest(at, inputs, outputs)
        accepted = judge(session, Revised(operation.incarnation, operation.revision, content))
        if accepted is not None:
            observer.happened(Happening.WRITE_REPEATED)
            work.answer_at_any_time()
            return (yield from _answer_again(session, accepted, inputs, outputs, answered.wants, work))
        if session.conflict is not None and session.lost_before(work.ticket):
            raise PrecedingWriteRefused(
                "another writer's write was accepted before this one was sent. Look where the session stands",
                metadata=standing(session),
            )
    work.begin()
    if not 0 <= at <= tape.end:
        raise InvalidInput.of_field(
            "at",
            f"{at} is not on the tape, which goes from 0 to {tape.end}",
            reason="POSITION_OUT_OF_RANGE",
            metadata=standing(session),
        )
    check_tape_length(model, at + len(inputs))
    keeper.check_lag()
    rewinds = at < tape.end
    with HeldRows(model.rows) as rows:
        if session.only_grows(at):
            # Nearly every write: as `move_to`, which would find nothing to do first and the state at hand.
            source, number = rows.share(session.row), session.state_number
        else:
            source, number = yield from move_to(session, at, len(inputs), rows, work)
        advance = yield from compute(session, source, at, inputs, answered.wants, rows, work)
        if outputs.activations:
            advance.activations = yield from activations_of(model, source, inputs)
        ensure_here(session)
        session.accept(
            at=at,
            inputs=inputs,
            source=(rows.hand_over(source), number),
            target=(rows.hand_over(advance.row), session.new_number() if len(inputs) else number),
            checkpoints=[*_beginning(session, at, source), *advance.checkpoints],
            digest=content,
        )
    yield from keeper.commit(session)
    if rewinds:
        observer.happened(Happening.REWOUND)
    return _result(session, at, inputs, outputs, advance, work, repeated=None)


def _beginning(session: Session, at: int, row: int) -> list[Checkpoint]:
    """The state at the beginning of what is known of the tape, if nothing else keeps it: all behind it needs it."""
    if at == 0 or at > session.tape.begin or any(kept.position == at for kept in session.checkpoints):
        return []
    state = session.model.engine.read_states([row])[0]
    return [Checkpoint(position=at, number=session.new_number(), state=state)]


def refuse(operation: RefusedWrite) -> Running[WriteResult]:
    """Ends as the operation says, in its turn."""
    raise operation.error
    yield  # makes this an operation like the others


def ensure_here(session: Session) -> None:
    """Before a session changes. Raises SessionMoved when it left while the operation was computed."""
    if session.gone:
        raise SessionMoved(
            f"another server has taken session {session.session_id!r} over. Nothing was applied; ask again"
        )


def move_to(
    session: Session, position: int, steps: int, rows: HeldRows, work: Work
) -> Running[tuple[int, int]]:
    """Row (held) and number of the state at `position`, from which the tape is about to go on by some steps.

    Before the tape changes, states are computed that writes need to be answered again and that only the present tape
    gives. Raises PositionNotRetained when the state cannot be restored.
    """
    for leaving in session.leaving_tape(position, position + steps):
        row, _ = yield from restored(session, leaving.at, rows, work)
        ensure_here(session)
        leaving.row = rows.hand_over(row)
    return (yield from restored(session, position, rows, work))


def restored(session: Session, position: int, rows: HeldRows, work: Work) -> Running[tuple[int, int]]:
    """Row (held) and number of the state of the present tape at `position`: a kept one, or computed from the nearest.

    Raises PositionNotRetained when it is not kept and the inputs before it are not on the tape.
    """
    kept = session.kept_row(position)
    if kept is not None:
        return rows.share(kept[0]), kept[1]
    nearest = session.nearest_kept(position)
    if nearest is None:
        raise PositionNotRetained(
            f"the state at position {position} is not kept. A write can go back to 0, and to anything from "
            f"{session.oldest_restorable_position} to {session.position}",
            metadata={
                **standing(session),
                "oldest_restorable_position": str(session.oldest_restorable_position),
            },
        )
    begin, where = nearest
    if isinstance(where, Checkpoint):
        source = rows.take()
        session.model.engine.write_states([source], where.state[None])
    else:
        source = rows.share(where)
    if begin == position:
        return source, session.new_number()
    target = rows.take()
    yield work.job(session.tape.inputs(begin, position), source, target, NOTHING)
    rows.give_back(source)
    return target, session.new_number()


def compute(
    session: Session, source: int, at: int, inputs: Inputs, wants: Wants, rows: HeldRows, work: Work
) -> Running[Advance]:
    """Runs the steps from the state of row `source`, which stays held, in pieces that end where a state is kept."""
    begin, end = 0, len(inputs)
    if not end:
        advance = Advance([], rows.share(source), [])
        if wants.per_step:
            advance.jobs.append(job := work.job(inputs, source, source, wants))
            yield job
        return advance
    advance = Advance([], source, [])
    model = session.model
    every, needed = model.checkpoint_steps, model.kept_inputs_steps
    first_kept = 0 if needed is None else at + end - needed - every
    while begin < end:
        piece = min(end, begin + every - (at + begin) % every)
        target = rows.take()
        if piece - begin == end:
            job = work.job(inputs, source, target, wants)
        else:
            wanted = wants if piece == end else _before_last(wants)
            job = work.job(inputs[begin:piece], advance.row, target, wanted)
        advance.jobs.append(job)
        yield job
        if begin:
            rows.give_back(advance.row)
        advance.row = target
        begin = piece
        if (at + piece) % every == 0 and at + piece > first_kept:
            state = model.engine.read_states([target])[0]
            advance.checkpoints.append(
                Checkpoint(position=at + piece, number=session.new_number(), state=state)
            )
    return advance


def _before_last(wants: Wants) -> Wants:
    """What a job answers whose write goes on in another one."""
    return wants if wants.every_step else Wants(scores=True) if wants.scores else NOTHING


def _answer_again(
    session: Session,
    accepted: AcceptedWrite,
    inputs: Inputs,
    outputs: OutputRequest,
    wants: Wants,
    work: Work,
) -> Running[WriteResult]:
    """The answer of an accepted write, computed once more from the state before it; nothing moves."""
    advance = None
    if wants.per_step or wants.scores or outputs.activations:
        with HeldRows(session.model.rows) as rows:
            if accepted.row is None:
                row, _ = yield from restored(session, accepted.at, rows, work)
            else:
                row = rows.share(accepted.row)
            advance = yield from compute(session, row, accepted.at, inputs, wants, rows, work)
            if outputs.activations:
                advance.activations = yield from activations_of(session.model, row, inputs)
    return _result(session, accepted.at, inputs, outputs, advance, work, repeated=accepted)


def _result(
    session: Session,
    at: int,
    inputs: Inputs,
    outputs: OutputRequest,
    advance: Advance | None,
    work: Work,
    *,
    repeated: AcceptedWrite | None,
) -> WriteResult:
    steps: list[StepOutput] = []
    if advance is not None:
        position = at + 1 if outputs.every_step and len(inputs) else at + len(inputs)
        texts = session.model.texts
        for best in advance.best:
            ids = best.ids
            words = () if ids is None else tuple([texts[number] for number in ids.tolist()])
            steps.append(StepOutput(position, ids, best.values, words, best.vector, best.hidden))
            position += 1
    looked = outputs.activations and session.model.keeps_tokens
    return WriteResult(
        session.session_id,
        work.state(session, repeated),
        work.timing(),
        tuple(steps),
        np.array(advance.scores, dtype=np.float32) if advance is not None and outputs.scores else None,
        inputs.astype(np.int64) if outputs.scores or looked else None,
        repeated is not None,
        () if advance is None else advance.activations,
        token_texts(session.model, inputs) if looked else (),
    )
