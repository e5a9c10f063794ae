"""A desk with few places in memory, over one file, that can end in order or suddenly and begin again."""

from __future__ import annotations

from pathlib import Path

from gatehouse_server.models.registry import Registry
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.stores.sqlite import SqliteStore

from tests.sessions.desk import Desk
from tests.sessions.tape_model import Keeping

IDLE_SECONDS = 1000.0
REST_SECONDS = 60.0


class TapeServer:
    """The desk, and what is done to it from outside."""

    def __init__(
        self, registry: Registry, folder: Path, *, keeping: Keeping, live: int, resident: int
    ) -> None:
        self._path = folder / "sessions.sqlite"
        self.desk = Desk(
            registry,
            limits=SessionLimits(
                max_sessions=64,
                max_live_sessions=live,
                max_resident_sessions=resident,
                idle_seconds=IDLE_SECONDS,
                rest_seconds=REST_SECONDS,
            ),
            open_store=None if keeping == "none" else self._open,
            durability="async" if keeping == "none" else keeping,
            export_key=b"the same in every life",
        )

    def _open(self) -> SqliteStore:
        return SqliteStore(self._path, clock=lambda: self.desk.unix_now())

    def turn(self) -> None:
        """The engine and the store's thread have their turns."""
        self.desk.tick()
        if self.desk.worker is not None:
            self.desk.worker.work()

    def flush(self) -> None:
        """Lets time pass until the store has everything."""
        self.desk.store()
        while self.desk.counts.last_gauges.unsaved_sessions:
            self.desk.store()
            self.desk.lane.housekeep(self.desk.answers)

    def restart(self, *, suddenly: bool) -> None:
        """Ends the server and begins it again; suddenly, with what waits for the store lost."""
        if not suddenly:
            self.desk.lane.abandon(self.desk.answers)
        self.desk.restart(store_first=not suddenly)

    def close(self) -> None:
        """Lets go of the file."""
        self.desk.kill()
