"""How models come to be while the server serves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gatehouse_server.models.files import read_files
from gatehouse_server.models.finding import FoundFolder
from gatehouse_server.models.fingerprint import fingerprint
from gatehouse_server.models.model import LoadedModel
from gatehouse_server.sessions.hosted_model import HostedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """How models come to be. All of it takes long, and is called in a thread of its own.

    `find` lists the folders of models, `load` loads one, `make_hosted` makes what sessions run on; these raise
    ModelFolderError. `tidy` is called when models have come or gone.
    """

    find: Callable[[], Sequence[FoundFolder]]
    load: Callable[[Path], LoadedModel]
    make_hosted: Callable[[LoadedModel], HostedModel]
    tidy: Callable[[], None]

    def fingerprint(self, path: Path) -> str:
        """Of what a folder holds. Raises ModelFolderError."""
        return fingerprint(read_files(path))

    def load_and_host(self, path: Path) -> tuple[LoadedModel, HostedModel | None]:
        """A folder's model, and what its sessions run on if it can have any. Raises ModelFolderError."""
        model = self.load(path)
        return model, self.make_hosted(model) if model.online else None
