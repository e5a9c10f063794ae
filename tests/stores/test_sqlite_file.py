"""What may stand where an SQLite store should be, and what is said of it."""

import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gatehouse_server.stores.padding import PAGE_BYTES
from gatehouse_server.stores.schema import MIGRATIONS
from gatehouse_server.stores.sqlite import SqliteStore

from tests.stores.records import HEAD, PARTS, content, create
from tests.stores.sqlite_files import defect, filled, log_of


@pytest.mark.parametrize("size_bytes", [None, 0])
def test_a_missing_or_empty_file_is_a_new_store(path: Path, opened, size_bytes: int | None) -> None:
    """It is made whole at once, and is a store again the next time."""
    if size_bytes is not None:
        path.touch()
    store = opened()
    secret = store.secret
    assert store.count() == 0
    store.close()
    assert opened().secret == secret


def test_two_stores_have_two_secrets(tmp_path: Path, opened) -> None:
    """Each is made by chance."""
    assert opened(tmp_path / "one").secret != opened(tmp_path / "two").secret


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """No folder is made."""
    folder = tmp_path / "absent"
    assert f"the folder {folder} does not exist" in defect(folder / "sessions.db")
    assert not folder.exists()


def test_a_folder_is_not_a_store(tmp_path: Path) -> None:
    """Nor is anything else that is not a file."""
    assert "is not a file" in defect(tmp_path)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "is not a file" in defect(pipe)


@pytest.mark.parametrize(
    "content", [b"x", b"plain text\n" * 500, bytes(8192), b"SQLite format 3\0" + b"\xff" * 4000]
)
def test_what_is_no_database_is_left_alone(path: Path, content: bytes) -> None:
    """Text, zeros, or a database's beginning with nothing behind it."""
    path.write_bytes(content)
    assert "is not an SQLite database" in defect(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
@pytest.mark.parametrize("mark", [0, 7])
def test_the_database_of_another_program_is_left_alone(path: Path, mode: str, mark: int) -> None:
    """Whatever it calls its tables, and though they be named as ours."""
    foreign = sqlite3.connect(path)
    foreign.execute(f"PRAGMA journal_mode = {mode}")
    foreign.execute(f"PRAGMA application_id = {mark}")
    foreign.execute("CREATE TABLE sessions (number INTEGER PRIMARY KEY)")
    foreign.commit()
    foreign.close()
    before, permissions = path.read_bytes(), path.stat().st_mode
    assert "is a database of another program" in defect(path)
    assert path.read_bytes() == before
    assert path.stat().st_mode == permissions


def test_a_newer_format_is_left_alone(path: Path, opened) -> None:
    """A server that went back to an older version says so."""

    def newer(connection: sqlite3.Connection) -> None:
        connection.execute("ALTER TABLE sessions ADD COLUMN extra TEXT")

    opened(migrations=(*MIGRATIONS, newer)).close()
    before = path.read_bytes()
    assert f"newer server (format {len(MIGRATIONS) + 1}" in defect(path)
    assert path.read_bytes() == before


def test_an_older_format_is_brought_up_to_date(path: Path, opened) -> None:
    """Each missing step once, in order; records stay."""
    store = opened()
    create(store, "a")
    store.close()
    steps: list[int] = []

    def second(connection: sqlite3.Connection) -> None:
        steps.append(2)
        connection.execute("ALTER TABLE sessions ADD COLUMN note TEXT")

    def third(connection: sqlite3.Connection) -> None:
        steps.append(3)
        connection.execute("UPDATE sessions SET note = 'migrated'")

    for _ in range(2):
        store = opened(migrations=(*MIGRATIONS, second, third))
        assert content(store) == (HEAD, PARTS)
        store.close()
    assert steps == [2, 3]
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT note FROM sessions").fetchall() == [("migrated",)]
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 2,)
    connection.close()


def test_a_step_that_fails_leaves_the_format_before(path: Path, opened) -> None:
    """Nothing of it stays, and the store opens as it was."""
    filled(path, 3)

    def broken(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM sessions")
        connection.execute("SELECT nonsense")

    assert "could not be brought from format 1 to 2" in defect(path, migrations=(*MIGRATIONS, broken))
    assert opened().count() == 3


def test_a_start_that_dies_while_making_the_tables_is_a_new_store(path: Path, opened) -> None:
    """Nothing was in it: the next start makes it anew."""

    def dying(connection: sqlite3.Connection) -> None:
        MIGRATIONS[0](connection)
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        SqliteStore(path, migrations=(dying,))
    store = opened()
    create(store, "a")
    assert store.count() == 1


@pytest.mark.parametrize("cut", [1, 700, 1024, 5000, 100_000])
def test_a_truncated_file_is_damaged(path: Path, cut: int) -> None:
    """By a byte or by half; it is never taken for a smaller store."""
    whole = filled(path)
    path.write_bytes(whole[:-cut])
    assert "is damaged" in defect(path)
    assert path.read_bytes() == whole[:-cut]


def test_a_store_cut_to_nothing_beside_its_log_is_not_a_new_one(path: Path, opened) -> None:
    """An empty or missing file whose log has content lost its records; the message names both."""
    store = opened()
    create(store, "a")
    log = log_of(path).read_bytes()
    store.close()
    log_of(path).write_bytes(log)
    path.write_bytes(b"")
    assert str(log_of(path)) in defect(path)
    path.unlink()
    assert str(log_of(path)) in defect(path)
    assert not path.exists()
    assert log_of(path).read_bytes() == log


@pytest.mark.parametrize("place", [0.02, 0.3, 0.6, 0.97])
def test_a_page_overwritten_is_damaged(path: Path, place: float) -> None:
    """A stretch of foreign bytes over tree pages is found before anything is served."""
    whole = filled(path)
    start = int(len(whole) * place) // PAGE_BYTES * PAGE_BYTES
    path.write_bytes(whole[:start] + b"\xa5" * (8 * PAGE_BYTES) + whole[start + 8 * PAGE_BYTES :])
    assert "is damaged" in defect(path)


def test_a_store_without_its_secret_or_a_table_is_damaged(path: Path) -> None:
    """Ours by its mark, and not to be served."""
    filled(path)
    for statement in ("DELETE FROM meta", "DROP TABLE tombstones"):
        with sqlite3.connect(path) as connection:
            connection.execute(statement)
        connection.close()
        assert "is damaged" in defect(path)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Callable[[], Path]]:
    """A folder, and then nothing more can be written there."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, check=False, capture_output=True).returncode == 0
    if os.geteuid() == 0 and not mounted:
        pytest.skip("for root everything can be written, and mounting is not allowed here")

    def lock() -> Path:
        if mounted:
            subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        else:
            for each in (*folder.iterdir(), folder):
                each.chmod(0o500)
        return folder

    yield lock
    if mounted:
        subprocess.run(["umount", folder], check=True)
    else:
        folder.chmod(0o700)


@pytest.mark.parametrize("exists", [True, False])
def test_what_cannot_be_written_is_told(tmp_path: Path, read_only: Callable[[], Path], exists: bool) -> None:
    """A new file that cannot be made, and a store that could only be read."""
    path = tmp_path / "read-only" / "sessions.db"
    if exists:
        filled(path)
    read_only()
    assert "let the server read and write the file and its folder" in defect(path)
