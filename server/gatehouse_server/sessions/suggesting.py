"""What a suggestion does: brings the tape in line with the text before the cursor and answers the likeliest words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gatehouse_server.engine.job import NOTHING, Best, Wants
from gatehouse_server.engine.observer import Happening, Observer
from gatehouse_server.errors import InvalidInput
from gatehouse_server.models.text import TextCodec
from gatehouse_server.models.typed import TypedText
from gatehouse_server.sessions.held_rows import HeldRows
from gatehouse_server.sessions.hosted_model import HostedModel
from gatehouse_server.sessions.keeper import Keeper
from gatehouse_server.sessions.operations import Suggest
from gatehouse_server.sessions.results import Suggestion, SuggestResult
from gatehouse_server.sessions.session import Session
from gatehouse_server.sessions.steps import Running
from gatehouse_server.sessions.tape import TokenTape
from gatehouse_server.sessions.work import Work
from gatehouse_server.sessions.writing import compute, ensure_here, move_to


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
    session: Session, operation: Suggest, work: Work, keeper: Keeper, observer: Observer, *, rebuilt: bool
) -> Running[SuggestResult]:
    """Runs a suggestion. The revision rises only when the tape moves."""
    codec = check_suggests(session.model, operation)
    typed = codec.split_for_suggest(
        operation.text, "start_over" if session.model.sentence_starts_over else "keep_context"
    )
    wants = Wants(
        # Words that the caller excludes are dropped from the answer, so there must be that many more; and as many
        # tokens may be one word.
        k=min(
            (operation.k + len(operation.exclude)) * codec.vocabulary.most_alike, session.model.output_size
        ),
        suppressed=True,
        candidates=codec.completions(typed.prefix) if typed.prefix else None,
        watched=codec.unknown_id if operation.extra_words else None,
    )
    work.begin()
    with HeldRows(session.model.rows) as rows:
        best = yield from _follow(session, _cut(typed, session), codec, wants, rows, work, keeper, observer)
    return SuggestResult(
        session_id=session.session_id,
        state=work.state(session),
        timing=work.timing(),
        suggestions=_words(operation, codec, typed, best),
        prefix=typed.prefix,
        rebuilt=rebuilt,
        computed_steps=work.computed_steps,
    )


def _cut(typed: TypedText, session: Session) -> TypedText:
    """The text as far back as one write may reach: of a longer one the end counts, as of a sliding window."""
    limits = session.model.limits
    longest = min(limits.max_write_steps, limits.max_tape_steps)
    if len(typed.stable_ids) <= longest:
        return typed
    return replace(typed, stable_ids=typed.stable_ids[-longest:], is_whole=False, cut_word="", cut_tokens=0)


def _follow(
    session: Session,
    typed: TypedText,
    codec: TextCodec,
    wants: Wants,
    rows: HeldRows,
    work: Work,
    keeper: Keeper,
    observer: Observer,
) -> Running[Best]:
    """Moves the tape to the settled part of the text, and answers after what is provisional of it.

    The tape moves last, so that an operation which fails has changed nothing.
    """
    alignment = codec.align(_known_tokens(session), typed)
    kept, added = alignment.kept, typed.stable_ids[alignment.appended_from :]
    if kept + len(added) > session.model.limits.max_tape_steps:
        kept, added = 0, typed.stable_ids  # the tape is full: it goes on with what the text shows
    if kept == session.position and not added:
        return (yield from _read(session.row, typed.provisional_ids, wants, rows, work))
    keeper.check_lag()
    source = yield from move_to(session, kept, len(added), rows, work)
    inputs = np.array(added, dtype=np.int64)
    at_once = len(added) > 0 and not typed.provisional_ids
    advance = yield from compute(session, source[0], kept, inputs, wants if at_once else NOTHING, rows, work)
    if at_once:
        best = advance.best[0]
    else:
        best = yield from _read(advance.row, typed.provisional_ids, wants, rows, work)
    ensure_here(session)
    rewinds = kept < session.position
    session.accept(
        at=kept,
        inputs=inputs,
        source=(rows.hand_over(source[0]), source[1]),
        target=(rows.hand_over(advance.row), session.new_number() if added else source[1]),
        checkpoints=advance.checkpoints,
        digest=None,
    )
    yield from keeper.commit(session)
    if rewinds:
        observer.happened(Happening.REWOUND)
    return best


def _known_tokens(session: Session) -> Sequence[int]:
    """The tape, if all of it is known. One that came back without its tokens is written anew from the text."""
    tape = session.tape
    assert isinstance(tape, TokenTape), "only models of tokens suggest"
    return tape.tokens if tape.begin == 0 else ()


def _read(
    row: int, provisional_ids: tuple[int, ...], wants: Wants, rows: HeldRows, work: Work
) -> Running[Best]:
    """The answer after the provisional end of the text, which the tape does not take."""
    inputs = np.array(provisional_ids, dtype=np.int64)
    job = work.job(inputs, rows.share(row), rows.take(), wants)
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
