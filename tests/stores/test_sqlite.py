"""The SQLite store has one user at a time, and its files keep nothing that was erased."""

import os
import signal
import sqlite3
import stat
import threading
import time
from pathlib import Path

from gatehouse_server.stores.padding import PAGE_BYTES
from gatehouse_server.stores.port import Change, Tombstone

from tests.stores.records import HEAD, PARTS, content, create, saving, summary
from tests.stores.sqlite_files import defect, filled, log_of

DELETED = Tombstone(why="SESSION_DELETED")


def test_a_second_opener_is_refused_at_once(path: Path, opened, child) -> None:
    """In the same process and in another; the first goes on undisturbed."""
    first = opened()
    assert "in use by another server" in defect(path)
    script = """
try: SqliteStore(pathlib.Path(sys.argv[1]))
except Exception as error: print(type(error).__name__, error)
"""
    answer, _ = child(script, path).communicate(timeout=30)
    assert answer.startswith("StoreDefect")
    assert "in use by another server" in answer
    create(first, "a")
    assert content(first) == (HEAD, PARTS)


def test_a_file_that_another_process_holds_is_refused_until_that_is_killed(path: Path, opened, child) -> None:
    """`kill -9` frees it, and what was applied there is here."""
    script = """
sys.path.insert(0, ".")
from tests.stores.records import create
store = SqliteStore(pathlib.Path(sys.argv[1]))
create(store, "a")
print("held", flush=True)
sys.stdin.read()
"""
    holder = child(script, path)
    assert holder.stdout.readline() == "held\n"
    assert "in use by another server" in defect(path)
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert content(opened()) == (HEAD, PARTS)


def test_a_file_that_a_reader_has_open_is_refused(path: Path) -> None:
    """A program that reads the database in the middle of a transaction holds it too."""
    filled(path)
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM sessions").fetchone()
    assert "in use" in defect(path)
    reader.close()


def test_a_thread_may_use_what_another_made(opened) -> None:
    """The store is made at the start and used by its own thread."""
    store = opened()
    thread = threading.Thread(target=create, args=(store, "a"))
    thread.start()
    thread.join()
    assert store.count() == 1


def test_nobody_else_may_read_the_files(path: Path, opened) -> None:
    """Database and log are for their owner alone, also where an older file was not."""

    def modes() -> set[int]:
        return {stat.S_IMODE(each.stat().st_mode) for each in (path, log_of(path))}

    store = opened()
    create(store, "a")
    assert modes() == {0o600}
    store.close()
    path.chmod(0o644)
    store = opened()
    create(store, "b")
    assert modes() == {0o600}


def test_content_stands_in_no_page_that_is_copied(path: Path, opened) -> None:
    """Of parts and heads of all lengths nothing is in a page of a tree, only in overflow pages, which stay."""
    store = opened()
    changes = [
        Change(
            summary=summary(f"{length}"), head=b"\xc7" * length, parts={"p" * (1 + length % 99): b"\xc9" * length},
            creates=True,
        )
        for length in [*range(1, 2200), 4352, 70_000]
    ]  # fmt: skip
    store.apply(changes)
    store.close()
    file = path.read_bytes()
    pages = [file[start : start + PAGE_BYTES] for start in range(0, len(file), PAGE_BYTES)]
    trees = [page for page in pages[1:] if page[0] in (2, 5, 10, 13)]
    assert len(trees) > 100
    assert file.count(b"\xc7") + file.count(b"\xc9") > 2 * sum(range(1, 2200))
    assert not [page for page in trees if b"\xc7" * 3 in page or b"\xc9" * 3 in page]


def test_erased_content_is_in_no_file(path: Path, opened) -> None:
    """After deleting, expiring, dropping and replacing, and a scrub, neither database nor log has a byte of it."""
    store = opened()
    now = time.time()

    def tape(name: str) -> bytes:
        return f"tape of {name};".encode() * (5 + hash_of(name) % 400)

    def hash_of(name: str) -> int:
        return sum(name.encode()) * 7919

    doomed = [f"doomed {index:03}" for index in range(150)]
    kept = [f"kept {index:03}" for index in range(150)]
    for pair in zip(doomed, kept, strict=True):
        store.apply(
            [
                Change(
                    summary=summary(name, expires_unix_seconds=now if name.endswith("7") else now + 9.0),
                    head=tape(name),
                    parts={
                        "tape": tape(name),
                        "old": tape(f"dropped {name}"),
                        "new": tape(f"replaced {name}"),
                    },
                    creates=True,
                )
                for name in pair
            ]
        )
    store.apply([saving(name, parts={"new": b"-"}, dropped=("old",), head=tape(name)) for name in kept])
    for name in doomed:
        if not name.endswith("7"):
            store.remove(name, DELETED)
    store.apply([saving(name, revision=3, head=tape(name), expires_unix_seconds=now + 9.0) for name in kept])
    assert store.expire(now, 1000) == 15
    assert b"tape of doomed" in path.read_bytes() + log_of(path).read_bytes()
    store.scrub()
    files = path.read_bytes() + log_of(path).read_bytes()
    for erased in (b"tape of doomed", b"tape of dropped", b"tape of replaced"):
        assert erased not in files
    assert all(f"tape of {name}".encode() in files for name in kept)
    assert sorted(each.name for each in path.parent.iterdir()) == [path.name, log_of(path).name]


def test_the_oldest_tombstones_beyond_the_limit_are_forgotten(opened) -> None:
    """As many as may be stay."""
    now = 1000.0
    store = opened(most_tombstones=3, clock=lambda: now)
    for index in range(6):
        now += 1.0
        create(store, f"s{index}")
        store.remove(f"s{index}", DELETED)
    create(store, "s4")
    store.expire(now, 10)
    assert store.look([f"s{index}" for index in (0, 1, 2, 3, 5)]) == [None, None, DELETED, DELETED, DELETED]


def test_tombstones_that_are_forgotten_leave_room(opened) -> None:
    """Those forgotten for their age do not count against the limit."""
    now = 1000.0
    store = opened(most_tombstones=2, clock=lambda: now)
    for names in (("s0", "s1"), ("s2", "s3"), ("s4", "s5")):
        create(store, *names)
        for name in names:
            store.remove(name, DELETED)
        store.expire(now, 10)
        assert store.look(names) == [DELETED, DELETED]
        now += 90_000.0
        store.expire(now, 10)
        assert store.look(names) == [None, None]
