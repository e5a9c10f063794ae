"""What a suggestion does: brings the tape in line with the text before the cursor and answers the likeliest words."""

from __future__ import annotations

import math

import numpy as np

from gatehouse_server.engine.job import Best, Wants
from gatehouse_server.engine.observer import Happening, Observer
from gatehouse_server.errors import InvalidInput
from gatehouse_server.models.text import TextCodec
from gatehouse_server.models.typed import TypedText
from gatehouse_server.sessions.hosted_model import HostedModel
from gatehouse_server.sessions.operations import Suggest
from gatehouse_server.sessions.results import Suggestion, SuggestResult
from gatehouse_server.sessions.session import Session
from gatehouse_server.sessions.work import Work
from gatehouse_server.sessions.writing import HeldRows, Running, restored


def check_suggests(model: HostedModel, operation: Suggest) -> TextCodec:
    """The codec of a model that can suggest words. Raises InvalidInput when it can't, or for a bad `k`."""
    if model.text is None or not model.scores_tokens:
        raise InvalidInput.of_field(
            "model",
            f"{model.key} does not predict words; Suggest needs a language model",
            reason="WRONG_MODEL_KIND",
        )
    if not 1 <= operation.k <= model.output_size:
        raise InvalidInput.of_field(
            "k",
            f"{operation.k} is not in 1..{model.output_size}, the words of {model.key}",
            reason="K_OUT_OF_RANGE",
        )
    return model.text


def suggest(
    session: Session, operation: Suggest, work: Work, observer: Observer, *, rebuilt: bool
) -> Running[SuggestResult]:
    """Runs a suggestion. The revision rises only when the tape moves."""
    codec = check_suggests(session.model, operation)
    typed = codec.split_for_suggest(
        operation.text, "start_over" if session.model.sentence_starts_over else "keep_context"
    )
    wants = Wants(
        # Words that the caller excludes are dropped from the answer, so there must be that many more.
        k=min(operation.k + len(operation.exclude), session.model.output_size),
        suppressed=True,
        candidates=codec.completions(typed.prefix) if typed.prefix else None,
        watched=codec.unknown_id if operation.extra_words else None,
    )
    with HeldRows(session.model.rows) as rows:
        best = yield from _follow(session, typed, codec, wants, rows, work, observer)
        if best is None:
            best = yield from _look(session, typed, wants, rows, work)
    return SuggestResult(
        session_id=session.session_id,
        state=work.state(session),
        timing=work.timing(),
        suggestions=_words(operation, codec, typed, best),
        prefix=typed.prefix,
        rebuilt=rebuilt,
        computed_steps=work.computed_steps,
    )


def _follow(
    session: Session,
    typed: TypedText,
    codec: TextCodec,
    wants: Wants,
    rows: HeldRows,
    work: Work,
    observer: Observer,
) -> Running[Best | None]:
    """Moves the tape to the settled part of the text; answers too when nothing provisional comes after it."""
    stable = typed.stable_ids
    alignment = codec.align(session.tape, typed)
    kept, added = alignment.kept, stable[alignment.appended_from :]
    limits = session.model.limits
    if kept + len(added) > limits.max_tape_steps or len(added) > limits.max_write_steps:
        # The text is more than one write may hold: its end counts most, so the tape starts over with that.
        kept, added = 0, stable[-min(limits.max_write_steps, limits.max_tape_steps) :]
    if kept == session.position and not added:
        return None
    rewinds = kept < session.position
    source = yield from restored(session, kept, rows, work)
    best = None
    if added:
        target = rows.take()
        answers_here = not typed.provisional_ids
        job = work.job(
            inputs=np.array(added, dtype=np.int64),
            source_row=source,
            target_row=target,
            wants=wants if answers_here else Wants(),
        )
        yield job
        best = job.best[0] if answers_here else None
    else:
        target = rows.share(source)
    session.accept(
        at=kept,
        tokens=added,
        steps=len(added),
        source_row=rows.hand_over(source),
        new_row=rows.hand_over(target),
        digest=None,
    )
    if rewinds:
        observer.happened(Happening.REWOUND)
    return best


def _look(session: Session, typed: TypedText, wants: Wants, rows: HeldRows, work: Work) -> Running[Best]:
    """The answer after the provisional end of the text, which the tape does not take."""
    job = work.job(
        inputs=np.array(typed.provisional_ids, dtype=np.int64),
        source_row=rows.share(session.row),
        target_row=rows.take(),
        wants=wants,
    )
    yield job
    return job.best[0]


def _words(operation: Suggest, codec: TextCodec, typed: TypedText, best: Best) -> tuple[Suggestion, ...]:
    """The best words in the capitals of what was typed, personal words among them, excluded ones left out."""
    assert best.ids is not None
    assert best.values is not None
    refused = {codec.vocabulary.fold(word) for word in operation.exclude}
    found: dict[str, float] = {}
    for number, value in zip(best.ids.tolist(), best.values.tolist(), strict=True):
        if codec.vocabulary.key(number) not in refused and math.isfinite(value):
            found.setdefault(codec.suggested(codec.surface(number), typed), value)
    personal = [word for word in operation.extra_words if codec.vocabulary.fold(word) not in refused]
    if best.watched is not None and personal:
        share = best.watched - math.log(len(personal))
        prefix = codec.vocabulary.fold(typed.prefix)
        for word in personal:
            if codec.vocabulary.fold(word).startswith(prefix):
                found.setdefault(word, share)
    ranked = sorted(found.items(), key=lambda entry: -entry[1])[: operation.k]
    return tuple(Suggestion(text=text, log_probability=value) for text, value in ranked)
