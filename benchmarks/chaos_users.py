"""A client process of a chaos run or a soak, started by their scenarios: many users over a few connections.

Standard input has a plan (JSON, one line) and later an empty line, after which every session is read once more.
Standard output says `ready`, then `ran`, then what the users counted (JSON, one line). Outputs go into a file.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gatehouse.aio import Client
from gatehouse.aio.session import Session

from benchmarks.chaos_user import LONGEST_TAPE, WRITE_SECONDS, K, User
from benchmarks.waves import Wave

_COMPARE_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a client process is to do. Users go over the targets in turn; `unary_targets` are those without a stream.
    With `wave` (fields of Wave) they write more at times, and less at others.
    """

    names: list[str]
    targets: list[str]
    unary_targets: list[str]
    models: list[str]
    vocabulary: int
    sync: bool
    seconds: float
    replies: str
    wave: dict[str, float] | None = None


async def run(plan: Plan) -> dict[str, Any]:
    """Lives through the users' lives; what they counted."""
    async with AsyncExitStack() as stack:
        clients = {
            target: await stack.enter_async_context(Client(target, timeout_seconds=WRITE_SECONDS))
            for target in plan.targets
        }
        openings: list[Callable[..., Awaitable[Session]]] = []
        for target, client in clients.items():
            if target in plan.unary_targets:
                openings.append(client.session)
            else:
                openings.append((await stack.enter_async_context(client.stream())).session)
        users = [
            _user(plan, number, name, openings[number % len(openings)])
            for number, name in enumerate(plan.names)
        ]
        until = time.monotonic() + plan.seconds
        await asyncio.gather(*(user.live(until) for user in users))
        print("ran", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await asyncio.gather(*(user.read_once_more() for user in users))
        attach = clients[plan.targets[0]].attach
        await asyncio.gather(*(user.compare(attach, _COMPARE_SECONDS) for user in users))
    _save(plan, users)
    return {"users": [_told(user) for user in users]}


def _user(plan: Plan, number: int, name: str, open_session: Callable[..., Awaitable[Session]]) -> User:
    model = plan.models[number // len(plan.targets) % len(plan.models)]
    # Some bring a name for their session, others are given one.
    own_id = {"session_id": name} if number % 3 == 0 else {}
    return User(
        name,
        model,
        partial(open_session, model, timeout_seconds=WRITE_SECONDS, **own_id),
        vocabulary=plan.vocabulary,
        sync=plan.sync,
        wave=None if plan.wave is None else Wave(**plan.wave),
    )


def _told(user: User) -> dict[str, Any]:
    resumptions = user.session.resumptions if user.session is not None else None
    return {
        **asdict(user.counts),
        "resumptions": asdict(resumptions) if resumptions is not None else {},
        "trouble": user.trouble,
    }


def _save(plan: Plan, users: list[User]) -> None:
    """N replies of all users, in arrays: tapes (N, LONGEST_TAPE), vectors (N, V), best ones (N, K)."""
    found = [(number, user.model, reply) for number, user in enumerate(users) for reply in user.replies]
    replies = [reply for _, _, reply in found]
    tapes = np.zeros((len(found), LONGEST_TAPE), dtype=np.int64)
    for row, reply in enumerate(replies):
        tapes[row, : len(reply.tape)] = reply.tape
    np.savez(
        Path(plan.replies),
        users=np.array([number for number, _, _ in found], dtype=np.int64),
        models=np.array([plan.models.index(model) for _, model, _ in found], dtype=np.int64),
        tapes=tapes,
        lengths=np.array([len(reply.tape) for reply in replies], dtype=np.int64),
        vectors=_rows([reply.vector for reply in replies], plan.vocabulary),
        best_ids=np.array([reply.best_ids for reply in replies], dtype=np.int64).reshape(-1, K),
        best_values=_rows([reply.best_log_probabilities for reply in replies], K),
    )


def _rows(values: list[Any], width: int) -> npt.NDArray[np.float32]:
    return np.array(values, dtype=np.float32).reshape(-1, width)


def main() -> None:
    """The process."""
    print("ready", flush=True)
    plan = Plan(**json.loads(sys.stdin.readline()))
    print(json.dumps(asyncio.run(run(plan))), flush=True)


if __name__ == "__main__":
    main()
