"""Sessions that end, however they were used and left, leave nothing behind: no memory, no slot, no task."""

from __future__ import annotations

import asyncio
import gc
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from gatehouse.operator import Operator
from gatehouse_server.app.run import Gatehouse
from gatehouse_server.settings import Settings
from prometheus_client.parser import text_string_to_metric_families

from tests.service.conftest import launch, stop
from tests.service.visitors import Visitors
from tests.tiny import write_tiny_keyboard

PATIENCE_SECONDS = 30.0
IDLE_SECONDS = 2.0
MOST_GROWTH = 1.02

EMPTY = {
    'gatehouse_sessions_by_tier{"live"}': 0.0,
    'gatehouse_sessions_by_tier{"host"}': 0.0,
    'gatehouse_state_bytes{"live"}': 0.0,
    'gatehouse_state_bytes{"host"}': 0.0,
    'gatehouse_sessions_active{"keyboard","1"}': 0.0,
    "gatehouse_continuations_active": 0.0,
    'gatehouse_queue_depth{"online"}': 0.0,
    'gatehouse_queue_depth{"offline"}': 0.0,
    "gatehouse_store_unsaved_sessions": 0.0,
}

Page = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What a server has when everybody has gone."""

    resident_bytes: float
    open_files: float


def read_page(http: str) -> Page:
    """All samples of a server's metrics, by name and the values of their labels."""
    with urllib.request.urlopen(f"http://{http}/metrics") as response:
        text = response.read().decode()
    page = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'"{value}"' for value in sample.labels.values())
            page[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return page


def wait_until(found: Callable[[], object], wanted: object) -> None:
    """Asks again and again. Nobody can be told by another process when it is done."""
    until = time.monotonic() + PATIENCE_SECONDS
    while (last := found()) != wanted:
        assert time.monotonic() < until, f"still {last}, not {wanted}"
        time.sleep(0.2)


def play_round(target: str, admin: str, http: str, sessions: int, open_files: float | None) -> Left:
    """A crowd comes and goes. Waits until none of its sessions is left; then what the server still has."""
    visitors = Visitors(target)
    before = read_page(http)
    asyncio.run(visitors.come(sessions))
    gc.collect()  # a call that was cut can hold its connection on this side, in a cycle
    seen = read_page(http)
    assert (
        seen['gatehouse_sessions_total{"created"}'] - before['gatehouse_sessions_total{"created"}']
        == sessions
    )
    assert seen['gatehouse_state_bytes{"live"}'] > 0
    assert visitors.cancelled > 0
    assert visitors.cut > 0
    assert visitors.written > sessions // 2
    wait_until(lambda: {name: value for name, value in read_page(http).items() if name in EMPTY}, EMPTY)
    with Operator(admin) as operator:
        wait_until(lambda: list(operator.list_sessions()), [])
    if open_files is not None:
        wait_until(lambda: read_page(http)["process_open_fds"], open_files)
    page = read_page(http)
    ended = {kind: page[f'gatehouse_sessions_total{{"{kind}"}}'] for kind in ("deleted", "expired")}
    assert all(ended.values()), ended
    return Left(resident_bytes=page["process_resident_memory_bytes"], open_files=page["process_open_fds"])


def check_rounds(path: Path, store: str, sessions: int) -> None:
    """Three rounds: after the third one the server has what it had after the second one."""
    write_tiny_keyboard(path / "models" / "keyboard" / "1")
    process, serving = launch(
        *["--models", str(path / "models"), "--no-embedded-models"],
        # oneDNN keeps what it made for each size of a batch: with many sizes, memory would still be growing.
        *["--session-idle-seconds", str(IDLE_SECONDS), "--max-sessions-per-tick", "8"],
        *["--state-store", "memory" if store == "memory" else f"sqlite:{path / 'sessions.db'}"],
    )
    try:
        rounds: list[Left] = []
        for _ in range(3):
            open_files = rounds[-1].open_files if len(rounds) == 2 else None
            rounds.append(
                play_round(serving["grpc"], serving["admin"], serving["http"], sessions, open_files)
            )
        assert rounds[2].resident_bytes <= MOST_GROWTH * rounds[1].resident_bytes, rounds
    finally:
        assert stop(process) == 0


@pytest.mark.timeout(180)
def test_hundreds_of_sessions_leave_nothing_behind(tmp_path: Path) -> None:
    """Slots, sessions and files are exactly those of the round before, memory is within two hundredths."""
    check_rounds(tmp_path, "sqlite", sessions=250)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_ten_thousand_sessions_leave_nothing_behind(tmp_path: Path, store: str) -> None:
    """As above, at a scale at which a hundred bytes a session would be seen."""
    check_rounds(tmp_path, store, sessions=10_000)


async def test_calls_and_streams_that_are_left_leave_no_task(tmp_path: Path) -> None:
    """When the connections have ended, the event loop has the tasks that it had before, and the engine no row."""
    write_tiny_keyboard(tmp_path / "keyboard" / "1")
    gatehouse = Gatehouse(
        Settings(models=(tmp_path,), embedded_models=False, port=0, admin_port=0, http_port=0)
    )
    ports = await gatehouse.start()
    visitors = Visitors(f"127.0.0.1:{ports.grpc}")
    await visitors.come(50)
    await _until_tasks_are_at_most(_tasks())
    before = _tasks()
    await visitors.come(200)
    await _until_tasks_are_at_most(before)
    assert _tasks() == before
    await gatehouse.drain()


def _tasks() -> int:
    return len(asyncio.all_tasks())


async def _until_tasks_are_at_most(wanted: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while _tasks() > wanted:  # noqa: ASYNC110 - nobody tells how many tasks there are
            await asyncio.sleep(0.02)
