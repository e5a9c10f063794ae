"""A reload meets folders that the server may not look into."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.changing_models import kinds, serving


async def test_a_folder_that_may_not_be_looked_into_is_not_gone(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was served of it is served on, and the others are looked at."""
    iterdir = Path.iterdir

    def forbidden(path: Path) -> Iterator[Path]:
        if path == models / "keyboard":
            raise PermissionError(errno.EACCES, "Permission denied")
        return iterdir(path)

    async with serving(models) as server:
        with monkeypatch.context() as patched:
            patched.setattr(Path, "iterdir", forbidden)
            assert kinds(await server.changes.reload()) == {"keyboard": "failed", "topics@1": "unchanged"}
        assert server.keys == ["keyboard@1", "topics@1"]
        assert kinds(await server.changes.reload())["keyboard@1"] == "unchanged"
        assert server.registry.failed == ()
