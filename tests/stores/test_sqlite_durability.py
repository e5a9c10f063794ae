"""The SQLite store keeps what it answered for: killed in the middle of writing, and with a full disk."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from gatehouse_server.stores.port import StoreFailure

from tests.stores.records import HEAD, PARTS, content, create, creation, saving
from tests.stores.sqlite_files import defect, log_of

KILLED = """
sys.path.insert(0, ".")
from tests.stores.records import creation, saving
store = SqliteStore(pathlib.Path(sys.argv[1]), synchronous=sys.argv[2])
names = [f"s{index}" for index in range(16)]
store.apply([creation(name) for name in names])
revision = 1
while True:
    revision += 1
    body = str(revision).encode() * 1500
    changes = [
        saving(name, revision=revision, head=body, parts={f"p{revision}": body}, dropped=(f"p{revision - 1}",))
        for name in names
    ]
    assert store.apply(changes) == [change.summary for change in changes]
    print(revision, flush=True)
"""


@pytest.mark.parametrize("synchronous", ["normal", "full"])
def test_what_was_applied_survives_a_kill(path: Path, opened, child, synchronous: str) -> None:
    """Killed while it writes, again and again: no answered change is lost, each record is whole, batches too."""
    for answers in (3, 40, 120):
        path.unlink(missing_ok=True)
        log_of(path).unlink(missing_ok=True)
        process = child(KILLED, path, synchronous)
        for _ in range(answers):
            process.stdout.readline()
        process.kill()
        answered = [int(line) for line in process.stdout.read().splitlines()]
        last = answered[-1] if answered else answers + 1
        store = opened()
        revisions = {found.revision for found in store.after("", 100)}
        assert store.count() == 16
        assert len(revisions) == 1
        (revision,) = revisions
        assert last <= revision <= last + 1
        body = str(revision).encode() * 1500
        for index in range(16):
            assert content(store, f"s{index}") == (body, {**PARTS, f"p{revision}": body})
        store.close()


def test_a_failed_batch_changes_nothing_and_the_next_one_works(opened) -> None:
    """One change that SQLite refuses undoes those before it in the batch, the count too."""
    store = opened()
    create(store, "a")
    bad = creation("b", model=None)
    with pytest.raises(StoreFailure) as failure:
        store.apply([saving(), creation("c"), bad])
    assert len(str(failure.value).splitlines()) == 1
    assert store.look(["b", "c"]) == [None, None]
    assert content(store) == (HEAD, PARTS)
    assert store.count() == 1
    create(store, "c")
    assert store.count() == 2


FULL_DISK = """
sys.path.insert(0, ".")
import os, resource, signal
from gatehouse_server.stores.port import StoreFailure, Tombstone
from tests.stores.records import content, create, creation, saving
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path, way = pathlib.Path(sys.argv[1]), sys.argv[2]
ballast = path.with_name("ballast")

def fill():
    if way == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, resource.RLIM_INFINITY))
    else:
        with ballast.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)) == 4096: pass
            except OSError: pass

def cure():
    if way == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    else:
        ballast.unlink()

store = SqliteStore(path)
create(store, "a", "b", "gone")
fill()
revision, failure = 1, None
while failure is None:
    body = bytes([revision % 256]) * 40_000
    changes = [saving(name, revision=revision + 1, parts={f"p{revision}": body}) for name in ("a", "b")]
    try:
        store.apply([*changes, creation(f"new {revision}")])
        revision += 1
    except StoreFailure as error:
        failure = str(error)
assert len(failure.splitlines()) == 1
print("failed:", failure)
found = store.look(["a", "b", f"new {revision}"])
assert [found[0].revision, found[1].revision, found[2]] == [revision, revision, None], found
assert store.count() == 2 + revision
try:
    for _ in range(100):
        store.probe()
    raise SystemExit("probes say that there is room")
except StoreFailure:
    pass
whole = content(store)
cure()
store.probe()
print("cured after", revision)
answers = store.apply([*changes, creation(f"new {revision}")])
assert [each.revision for each in answers] == [revision + 1, revision + 1, 1]
assert store.count() == 3 + revision
store.remove("gone", Tombstone(why="SESSION_DELETED"))
store.scrub()
store.close()
again = SqliteStore(path)
assert again.count() == 2 + revision
assert content(again) == (b"new head", {**whole[1], f"p{revision}": body})
print("works again")
"""


@pytest.fixture(params=["disk", "limit"])
def small(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder where little can be written: a small file system, or any with a limit on the size of files."""
    if request.param == "limit":
        yield tmp_path, "limit"
        return
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", tmp_path], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs rights that are not given here")
    yield tmp_path, "disk"
    subprocess.run(["umount", tmp_path], check=True)


def test_a_full_disk_is_a_failure_and_goes_by(small: tuple[Path, str], child) -> None:
    """The batch that does not fit changes nothing, and probes fail; with space the same one is applied, without a
    restart.
    """
    folder, way = small
    process = child(FULL_DISK, folder / "sessions.db", way)
    answer, _ = process.communicate(timeout=50)
    assert process.returncode == 0, answer
    failed, cured, works = answer.splitlines()
    assert failed.startswith(f"failed: {folder / 'sessions.db'}: ")
    assert "full" in failed or "I/O" in failed
    assert cured.startswith("cured")
    assert works == "works again"


def test_a_store_that_does_not_fit_is_not_made(small: tuple[Path, str], opened) -> None:
    """A disk that is full at the start is told, and the store is made once there is space."""
    folder, way = small
    if way == "limit":
        pytest.skip("the limit would hold for the tests themselves")
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)) == 4096:
            pass
    assert "full" in defect(folder / "sessions.db")
    ballast.unlink()
    store = opened(folder / "sessions.db")
    create(store, "a")
    assert content(store) == (HEAD, PARTS)
    store.close()
