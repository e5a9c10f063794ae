"""Perplexity and hit rates of a served language model on sentences."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from gatehouse.aio.client import Client
from gatehouse.aio.session import Session
from gatehouse.command.failure import Failure
from gatehouse.command.files import InputFile
from gatehouse.command.progress import Progress
from gatehouse.command.row_thread import RowThread
from gatehouse.command.rows import TEXT_COLUMNS, BadRow, pick_column, rows
from gatehouse.command.unusable_lines import tell_unusable
from gatehouse.errors import InvalidInputError
from gatehouse.models import Model, TokenInput
from gatehouse.results import Candidate, WriteResult

_SESSIONS = 64
_TIMEOUT_SECONDS = 60.0
# Three proposals are wanted, and up to three control tokens may stand before them.
_PROPOSALS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageFigures:
    """Every token of every sentence is a target, and so is the end of each.

    `perplexity` is exp of the mean negative log-probability of the targets. `top_1` and `top_3` are shares of
    all targets; control tokens and the unknown token are never proposed, so they are targets that are never
    hit.
    """

    perplexity: float
    top_1: float
    top_3: float
    tokens: int
    unknown_tokens: int
    sentences: int


@dataclass(slots=True)
class _Tally:
    """Counts on the way to the figures."""

    log_probabilities: list[float] = field(default_factory=list)
    hits_1: int = 0
    hits_3: int = 0
    unknown: int = 0
    sentences: int = 0

    def figures(self) -> LanguageFigures:
        tokens = len(self.log_probabilities)
        return LanguageFigures(
            perplexity=math.exp(-math.fsum(self.log_probabilities) / tokens),
            top_1=self.hits_1 / tokens,
            top_3=self.hits_3 / tokens,
            tokens=tokens,
            unknown_tokens=self.unknown,
            sentences=self.sentences,
        )


async def measure(
    target: str, model: Model, source: InputFile, text_column: str | None, progress: Progress
) -> LanguageFigures:
    """Reads every sentence of the file through sessions of the server. Failure when not one could be used."""
    if model.tokens is None or not model.tokens.accepts_text:
        raise Failure(f"{model.full_name} takes no text, so it cannot be measured on a text file")
    if not model.online:
        raise Failure(f"{model.full_name} runs no sessions, so its next tokens cannot be measured")
    tally = _Tally()
    sentences = RowThread(rows(source))
    sessions: list[Session] = []
    async with Client(target, timeout_seconds=_TIMEOUT_SECONDS) as client, client.stream() as stream:
        try:
            for _ in range(_SESSIONS):
                sessions.append(await stream.session(model.full_name))  # noqa: PERF401  # some, when one fails
            reader = _SentenceReader(model.tokens, tally)
            await reader.begin(sessions[0])
            async with asyncio.TaskGroup() as group:
                for session in sessions:
                    group.create_task(_read_all(reader, session, sentences, source, text_column, progress))
        except ExceptionGroup as failures:
            # The first sentence that fails cancels the others; its reason is the one to tell.
            raise failures.exceptions[0] from None
        finally:
            sentences.end()
            await asyncio.gather(*(session.delete() for session in sessions), return_exceptions=True)
    if not tally.log_probabilities:
        raise Failure(f"{source.name}: has no sentence that could be read")
    return tally.figures()


async def _read_all(
    reader: _SentenceReader,
    session: Session,
    sentences: RowThread,
    source: InputFile,
    text_column: str | None,
    progress: Progress,
) -> None:
    """Takes the next sentence that nobody has taken, until there is none."""
    while (row := await sentences.next_row()) is not None:
        progress.read += 1
        try:
            if isinstance(row, BadRow):
                raise row
            text = row.text_of(pick_column(row, text_column, TEXT_COLUMNS, "--text"))
            await reader.read(session, text)
            progress.done += 1
        except BadRow as bad:
            tell_unusable(source, bad.line, bad.reason, progress)
        except InvalidInputError as error:
            tell_unusable(source, row.line, error.message, progress)


class _SentenceReader:
    """Reads sentences in sessions and tallies what the model expected."""

    def __init__(self, tokens: TokenInput, tally: _Tally) -> None:
        self._end_id = tokens.end_id
        self._unknown_id = tokens.unknown_id
        self._never_proposed = {tokens.unknown_id, tokens.start_id, tokens.end_id}
        self._k = min(_PROPOSALS, tokens.vocabulary_size)
        self._tally = tally
        self._first: tuple[int, ...] = ()

    async def begin(self, session: Session) -> None:
        """Asks once what is expected at the start of every sentence."""
        self._first = self._proposals((await session.start_over(k=self._k)).best)

    async def read(self, session: Session, text: str) -> None:
        """Reads one sentence. Nothing of it is tallied when any part of it is refused."""
        results = await self._write(session, text, at=0)
        if self._end_id is not None:
            results.append(await session.append(tokens=[self._end_id], scores=True))
        expected = self._first
        for result in results:
            after = [self._proposals(output.best) for output in result.outputs]
            before = [expected, *after]
            for token, score, proposed in zip(result.token_ids, result.scores, before, strict=False):
                self._count(token, score, proposed)
            expected = before[-1]
        self._tally.sentences += 1

    async def _write(self, session: Session, text: str, *, at: int | None) -> list[WriteResult]:
        """Writes a text, in halves when it has more tokens than a write may carry."""
        try:
            return [await session.write(at=at, text=text, k=self._k, every_step=True, scores=True)]
        except InvalidInputError as error:
            cut = _middle_space(text)
            if error.reason != "INPUT_TOO_LONG" or cut is None:
                raise
        # A space stays with the word that it stands before.
        results = await self._write(session, text[:cut], at=at)
        return results + await self._write(session, text[cut:], at=None)

    def _count(self, token: int, score: float, proposed: Sequence[int]) -> None:
        tally = self._tally
        tally.log_probabilities.append(score)
        tally.hits_1 += token in proposed[:1]
        tally.hits_3 += token in proposed[:3]
        tally.unknown += token == self._unknown_id

    def _proposals(self, best: Sequence[Candidate]) -> tuple[int, ...]:
        return tuple(entry.id for entry in best if entry.id not in self._never_proposed)


def _middle_space(text: str) -> int | None:
    """Where to cut a text in two: at the space nearest to its middle; None when it has none inside."""
    middle = len(text) // 2
    before, after = text.rfind(" ", 1, middle), text.find(" ", middle)
    cuts = [cut for cut in (before, after) if cut > 0]
    return min(cuts, key=lambda cut: abs(cut - middle), default=None)
