"""How long the operations on one session take, each beside a plain append in the same moment.

Nothing else goes on, and what is timed runs on one thread: a tick is one step of one session. Ratios are of medians,
of the clock's time and of the thread's processor time (`cpu`), which other programs on the machine disturb less.
Writing behind, which a server does on another thread, is not in the times.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from gatehouse_server.errors import StateBehind
from gatehouse_server.models.registry import Registry
from gatehouse_server.sessions.hosted_model import TOKEN_CHECKPOINT_STEPS
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.operations import ExportSession, ForkSession, ImportSession
from gatehouse_server.sessions.results import SessionExport, SessionView
from gatehouse_server.stores.port import SessionStore
from gatehouse_server.stores.redis import RedisStore
from gatehouse_server.stores.sqlite import SqliteStore

from benchmarks.hand import Hand, Spent, append, summary, timed
from benchmarks.made_sessions import (
    TAPE_STEPS,
    Writer,
    exported,
    imported,
    lengthened,
    new_writer,
    random_tokens,
    registry_of,
)
from benchmarks.redis_process import running_redis

LONG_STEPS = 100_000
HOT_DISTANCES = (1, 4, 7)
COMPUTED_DISTANCES = (64, 512, 1024)
FORKED_STEPS = (0, 100, 10_000, 1_000_000)
EXPORTED_STEPS = (TAPE_STEPS, 10_000)

_OFTEN = 300
_SELDOM = 16
_NEVER_SECONDS = 1e9

Row = dict[str, Any]
Action = Callable[[], object]


def measure(folder: Path) -> list[Row]:
    """All latencies."""
    registry = registry_of(folder)
    rows = _in_memory(registry)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(running_redis(scratch))
        rows += _with_store(registry, "SQLite", lambda: SqliteStore(scratch / "sessions.db"))
        rows += _with_store(registry, "Redis", lambda: RedisStore(url))
    return rows


def _in_memory(registry: Registry) -> list[Row]:
    hand = Hand(registry, limits=_limits())
    (model,) = registry.models
    writer, plain = new_writer(hand, model.key), new_writer(hand, model.key)
    small = exported(hand, plain)

    def compare(case: str, count: int, prepare: Callable[[int], Action]) -> Row:
        return _compare(case, count, plain, prepare)

    rows = [compare("append", 5 * _OFTEN, lambda _: lambda: writer.write(random_tokens(1)))]
    for distance in HOT_DISTANCES:

        def rewind(_: int, distance: int = distance) -> Action:
            writer.write_singly(distance + 1)
            return lambda: writer.write(random_tokens(1), back=distance)

        rows.append(compare(f"rewind by {distance}, kept", _OFTEN, rewind))
    for distance in COMPUTED_DISTANCES:

        def rewind_far(number: int, distance: int = distance) -> Action:
            shift = number * TOKEN_CHECKPOINT_STEPS // _SELDOM
            long = _woken(hand, lengthened(small, LONG_STEPS + shift))
            return lambda: long.write([7], back=distance)

        rows.append(compare(f"rewind by {distance} of {LONG_STEPS:,}, computed", _SELDOM, rewind_far))

    def rewind_to_middle(number: int) -> Action:
        shift = number * TOKEN_CHECKPOINT_STEPS // _SELDOM
        long = _woken(hand, lengthened(small, LONG_STEPS))
        return lambda: long.write([7], back=LONG_STEPS // 2 + shift)

    def rewind_at_worst(_: int) -> Action:
        long = _woken(hand, lengthened(small, LONG_STEPS))
        worst = LONG_STEPS // 2 // TOKEN_CHECKPOINT_STEPS * TOKEN_CHECKPOINT_STEPS - 1
        return lambda: long.write([7], back=long.state.position - worst)

    rows.append(compare(f"rewind to the middle of {LONG_STEPS:,}, computed", _SELDOM, rewind_to_middle))
    rows.append(compare("rewind to just before a kept state", _SELDOM, rewind_at_worst))
    for steps in FORKED_STEPS:
        rows += _forks(hand, plain, small, steps)
    for steps in EXPORTED_STEPS:
        rows += _exports(hand, plain, small, steps)
    sleepers = imported(hand, small, _OFTEN)
    hand.rest()
    plain.write_singly(1)
    rows.append(
        compare("append, woken from host memory", _OFTEN, lambda number: lambda: sleepers[number].write([7]))
    )
    return rows


def _forks(hand: Hand, plain: Writer, small: bytes, steps: int) -> list[Row]:
    source = _woken(hand, lengthened(small, steps)) if steps else imported(hand, lengthened(small, 0), 1)[0]
    forks: list[Writer] = []

    def fork(_: int) -> Action:
        return lambda: forks.append(
            Writer.of(hand, hand.one(ForkSession(session_id=source.session_id), SessionView))
        )

    count = _OFTEN if steps <= 10_000 else _SELDOM
    rows = [_compare(f"fork of {steps:,}", count, plain, fork)]
    rows.append(
        _compare(
            f"append to a fork of {steps:,}", count, plain, lambda number: lambda: forks[number].write([7])
        )
    )
    for writer in (source, *forks):
        writer.delete()
    return rows


def _exports(hand: Hand, plain: Writer, small: bytes, steps: int) -> list[Row]:
    source = _woken(hand, small if steps == TAPE_STEPS else lengthened(small, steps))
    blobs: list[bytes] = []
    copies: list[Writer] = []

    def export(_: int) -> Action:
        return lambda: blobs.append(hand.one(ExportSession(session_id=source.session_id), SessionExport).blob)

    def take_in(number: int) -> Action:
        return lambda: copies.append(
            Writer.of(hand, hand.one(ImportSession(blob=blobs[number]), SessionView))
        )

    rows = [
        _compare(f"export of {steps:,}", _OFTEN, plain, export),
        _compare(f"import of {steps:,}", _OFTEN, plain, take_in),
        _compare(
            f"append to an import of {steps:,}",
            _OFTEN,
            plain,
            lambda number: lambda: copies[number].write([7]),
        ),
    ]
    for writer in (source, *copies):
        writer.delete()
    return rows


def _with_store(registry: Registry, name: str, open_store: Callable[[], SessionStore]) -> list[Row]:
    """Wake-ups from a store: by the process that put the session there, and by another one."""
    (model,) = registry.models
    hand = Hand(registry, limits=_limits(resident=1), store=open_store())
    plain = new_writer(hand, model.key)
    sleepers = imported(hand, exported(hand, plain), _OFTEN)
    hand.rest()
    plain.write_singly(1)

    def wake(number: int) -> Action:
        hand.settle()
        return lambda: sleepers[number].write([7])

    rows = [_compare(f"append, woken from {name}", _OFTEN, plain, wake)]
    hand.rest()
    hand.leave()
    other = Hand(registry, limits=_limits(), store=open_store(), owner="process-2")
    plain = new_writer(other, model.key)

    def take_over(number: int) -> Action:
        other.settle()
        sleeper = sleepers[number]
        sleeper.hand = other
        return lambda: _write_in_a_new_life(sleeper)

    rows.append(_compare(f"append, taken over from {name}", _OFTEN, plain, take_over))
    other.leave()
    return rows


def _write_in_a_new_life(writer: Writer) -> None:
    """What a client does: it is told that the session began a new life, and sends its write again."""
    (refusal,) = writer.hand.ask([append(writer.session_id, writer.state, [7])])
    if not isinstance(refusal, StateBehind) or refusal.metadata is None:
        raise RuntimeError(f"not refused as it should be: {refusal}")
    writer.state = replace(writer.state, incarnation=int(refusal.metadata["incarnation"]))
    writer.write([7])


def _compare(case: str, count: int, plain: Writer, prepare: Callable[[int], Action]) -> Row:
    """Times an action so often, each time beside a plain append. `prepare` is not timed."""
    spent: list[Spent] = []
    plain_spent: list[Spent] = []
    for number in range(count):
        action = prepare(number)
        # In turns, so that neither always finds the processor's caches as the preparation left them.
        for which in random.sample((0, 1), 2):
            if which:
                spent.append(timed(action)[0])
            else:
                plain_spent.append(timed(lambda: plain.write([7]))[0])
    measured, beside = summary(spent), summary(plain_spent)
    return {
        "case": case,
        **measured,
        "append_p50_ms": beside["p50_ms"],
        "append_cpu_p50_ms": beside["cpu_p50_ms"],
        "ratio": round(measured["p50_ms"] / beside["p50_ms"], 2),
        "cpu_ratio": round(measured["cpu_p50_ms"] / beside["cpu_p50_ms"], 2),
    }


def _woken(hand: Hand, blob: bytes) -> Writer:
    """A live session from an export."""
    (writer,) = imported(hand, blob, 1)
    writer.write([7])
    return writer


def _limits(*, resident: int = 100_000) -> SessionLimits:
    return SessionLimits(
        max_live_sessions=2_000,
        max_resident_sessions=resident,
        idle_seconds=_NEVER_SECONDS,
        max_tape_steps=2_000_000,
    )
