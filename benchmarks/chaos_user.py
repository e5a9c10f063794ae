"""One user of a chaos run: writes at random to a session of its own, and knows what the tape must read."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from gatehouse.aio.session import Session
from gatehouse.results import WriteResult

from benchmarks.waves import Wave

K = 5
LONGEST_TAPE = 60
WRITE_SECONDS = 60.0
"""The application's deadline. It is longer than a server takes to come back, so no write may fail."""

SLOW_SECONDS = 2.0
"""No restart keeps a write waiting for so long while another replica serves."""

_MEAN_PAUSE_SECONDS = 0.12
_BURST_SHARE = 0.4
_OUTPUT_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Reply:
    """Outputs that were told of a tape: the V log-probabilities and the K best."""

    tape: tuple[int, ...]
    vector: npt.NDArray[np.float32]
    best_ids: tuple[int, ...]
    best_log_probabilities: tuple[float, ...]


@dataclass(slots=True)
class Counts:
    """What a user did and saw. Seconds are those of `time.monotonic`, which all processes of a machine share.

    A step is lost when the server stands before the tape, doubled when it stands behind it, or when it took a write
    under two revisions. Outputs are misshapen when they are not there, too few, too many, or of another position.
    `interrupted` has the begin and end of each write that needed more than one attempt, `slow` what there is to tell
    of writes that took SLOW_SECONDS or longer.
    """

    writes: int = 0
    rewinds: int = 0
    repeated: int = 0
    misshapen_outputs: int = 0
    lost_steps: int = 0
    doubled_steps: int = 0
    untrue_durability: int = 0
    longest_pause_seconds: float = 0.0
    interrupted: list[tuple[float, float]] = field(default_factory=list)
    slow: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Move:
    """A write: `tokens` at position `at` of the tape."""

    at: int
    tokens: tuple[int, ...]
    outputs: bool


class User:
    """`opened` makes the session. `model` is its name. In `sync` mode every answered write must be durable. Pauses are
    as long all the time, or come in a `wave`.
    """

    def __init__(
        self,
        name: str,
        model: str,
        opened: Callable[[], Awaitable[Session]],
        *,
        vocabulary: int,
        sync: bool,
        wave: Wave | None = None,
    ) -> None:
        self.name = name
        self.model = model
        self.counts = Counts()
        self.replies: list[Reply] = []
        self.trouble: dict[str, Any] | None = None
        """What went wrong first: the user stops there, since all that follows would be wrong too."""
        self.session: Session | None = None
        self._opened = opened
        self._vocabulary = vocabulary
        self._sync = sync
        self._wave = wave
        self._random = random.Random(name)
        self._tape: tuple[int, ...] = ()
        self._revision = 0
        self._recent: deque[dict[str, Any]] = deque(maxlen=12)

    async def live(self, until: float) -> None:
        """Makes the session and writes until that moment."""
        try:
            self.session = await self._opened()
        except Exception as error:
            self._fails(None, error)
        while self.trouble is None and time.monotonic() < until:
            await self._write(self._next_move())
            if self._random.random() > _BURST_SHARE:
                await asyncio.sleep(self._random.expovariate(1 / self._mean_pause_seconds()))

    async def read_once_more(self) -> None:
        """Asks for the outputs at the end of the tape: the session must be all there, whatever happened."""
        if self.trouble is None:
            await self._write(Move(len(self._tape), (), outputs=True))

    async def compare(self, attach: Callable[[str], Awaitable[Session]], patience_seconds: float) -> None:
        """Looks where the session stands for somebody who does not know its writes. A replica other than the one
        that answered last may learn of them a moment later.
        """
        if self.session is None:
            return
        deadline = time.monotonic() + patience_seconds
        while True:
            try:
                found = await attach(self.session.id)
            except Exception as error:
                self._fails(None, error)
                return
            if self.trouble is not None:
                self.trouble["server_stands_at"] = {"revision": found.revision, "position": found.position}
                return
            if (found.revision, found.position) == (self._revision, len(self._tape)):
                return
            if time.monotonic() > deadline:
                self._compare(None, found.revision, found.position)
                return
            await asyncio.sleep(0.1)

    def _mean_pause_seconds(self) -> float:
        return _MEAN_PAUSE_SECONDS if self._wave is None else self._wave.pause_seconds(time.monotonic())

    def _next_move(self) -> Move:
        """Mostly the next words; corrections of the last ones; now and then something far back, or all anew."""
        draw, length = self._random.random(), len(self._tape)
        tokens = tuple(self._random.randrange(self._vocabulary) for _ in range(self._random.randint(1, 3)))
        outputs = self._random.random() < _OUTPUT_SHARE
        if length + len(tokens) > LONGEST_TAPE:
            draw = self._random.uniform(0.82, 1.0)
        if draw < 0.68 or not length:
            return Move(length, tokens, outputs)
        if draw < 0.82:
            return Move(length - self._random.randint(1, min(length, 6)), tokens, outputs)
        anywhere = self._random.randrange(length)
        if draw < 0.88:
            return Move(min(anywhere, LONGEST_TAPE - len(tokens)), tokens, outputs)
        return Move(anywhere if draw < 0.97 else 0, (), outputs)

    async def _write(self, move: Move) -> None:
        assert self.session is not None, "only who has a session writes"
        before = self.session.resumptions
        begun = time.monotonic()
        try:
            result = await self._send(self.session, move)
        except Exception as error:
            self._fails(move, error)
            return
        ended = time.monotonic()
        self.counts.longest_pause_seconds = max(self.counts.longest_pause_seconds, ended - begun)
        after = self.session.resumptions
        if after.interruptions > before.interruptions:
            self.counts.interrupted.append((begun, ended))
        if ended - begun >= SLOW_SECONDS:
            self.counts.slow.append(
                {
                    "user": self.name,
                    "model": self.model,
                    "begun": round(begun, 3),
                    "ended": round(ended, 3),
                    "attempts_without_answer": after.interruptions - before.interruptions,
                    "resumed": after.resumed - before.resumed,
                    "revision": result.revision,
                }
            )
        self._check(move, result)
        self._recent.append(
            {
                "at": move.at,
                "tokens": move.tokens,
                "revision": result.revision,
                "position": result.position,
                "incarnation": result.state.incarnation,
                "durable_revision": result.state.durable_revision,
                "repeated": result.repeated,
                "begun": round(begun, 3),
                "ended": round(ended, 3),
            }
        )

    async def _send(self, session: Session, move: Move) -> WriteResult:
        k, vector = (K, True) if move.outputs else (None, False)
        if not move.tokens:
            if not move.at:
                return await session.start_over(k=k, vector=vector, timeout_seconds=WRITE_SECONDS)
            return await session.rewind(to=move.at, k=k, vector=vector, timeout_seconds=WRITE_SECONDS)
        if move.at == len(self._tape):
            return await session.append(tokens=move.tokens, k=k, vector=vector, timeout_seconds=WRITE_SECONDS)
        return await session.write(
            at=move.at, tokens=move.tokens, k=k, vector=vector, timeout_seconds=WRITE_SECONDS
        )

    def _check(self, move: Move, result: WriteResult) -> None:
        self.counts.writes += 1
        self.counts.rewinds += move.at < len(self._tape)
        self.counts.repeated += result.repeated
        self._tape = self._tape[: move.at] + move.tokens
        self._revision += 1
        self._compare(move, result.revision, result.position)
        if self._sync and result.state.durable_revision < result.revision:
            self.counts.untrue_durability += 1
        if not move.outputs:
            return
        if (
            result.vector is None
            or (len(result.vector), len(result.best)) != (self._vocabulary, K)
            or [output.position for output in result.outputs] != [len(self._tape)]
        ):
            self.counts.misshapen_outputs += 1
            return
        self.replies.append(
            Reply(
                tape=self._tape,
                vector=np.asarray(result.vector, dtype=np.float32).copy(),
                best_ids=tuple(candidate.id for candidate in result.best),
                best_log_probabilities=tuple(candidate.log_probability for candidate in result.best),
            )
        )

    def _compare(self, move: Move | None, revision: int, position: int) -> None:
        """Compares where the session stands with where it must stand."""
        if (revision, position) == (self._revision, len(self._tape)):
            return
        writes, steps = revision - self._revision, position - len(self._tape)
        size = max(1, len(move.tokens) if move is not None else 1)
        self.counts.lost_steps += max(-steps, -writes * size, 0)
        self.counts.doubled_steps += max(steps, writes * size, 0)
        self._wrong(
            move,
            f"the session stands at revision {revision}, position {position}, "
            f"not at revision {self._revision}, position {len(self._tape)}",
        )

    def _fails(self, move: Move | None, error: Exception) -> None:
        self._wrong(move, f"{type(error).__name__}: {error}")
        assert self.trouble is not None
        self.trouble["error"] = True
        self.trouble["reason"] = getattr(error, "reason", None)

    def _wrong(self, move: Move | None, what: str) -> None:
        if self.trouble is not None:
            return
        self.trouble = {
            "session": self.session.id if self.session is not None else None,
            "user": self.name,
            "model": self.model,
            "what": what,
            "error": False,
            "seconds": round(time.monotonic(), 3),
            "move": None if move is None else {"at": move.at, "tokens": move.tokens},
            "expected": {"revision": self._revision, "position": len(self._tape)},
            "before": list(self._recent),
        }
