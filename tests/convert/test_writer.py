"""Model folders appear whole, or not at all."""

import errno
import os
import stat
from pathlib import Path

import pytest
import torch
from gatehouse_server.convert import conversion, writer
from gatehouse_server.convert.port import ConversionError
from gatehouse_server.convert.writer import new_folder
from gatehouse_server.models.registry import Registry
from torch import nn

from tests.convert.converting import convert, everything_under, refusal
from tests.convert.torch_models import seeded


@pytest.fixture
def source(tmp_path: Path) -> Path:
    torch.save(seeded(nn.GRU(2, 3)).state_dict(), tmp_path / "m.pt")
    return tmp_path / "m.pt"


def test_a_folder_that_is_there_stays(tmp_path, source):
    """An existing folder is neither replaced nor mixed with, unless `--force` is given."""
    convert(source, tmp_path / "models")
    (tmp_path / "models" / "m" / "1" / "mine.txt").write_text("mine")
    assert "is there already" in refusal(source, tmp_path / "models")
    convert(source, tmp_path / "models", "--version", "2")
    convert(source, tmp_path / "models", "--force")
    files = {path.name for path in (tmp_path / "models" / "m" / "1").iterdir()}
    assert files == {"config.json", "model.safetensors", "card.md"}
    assert {path.name for path in (tmp_path / "models").iterdir()} == {"m"}


def test_a_failing_replacement_leaves_the_old_folder(tmp_path, source):
    """What `--force` would replace stays when the new one is refused."""
    convert(source, tmp_path / "models")
    torch.save(seeded(nn.GRU(2, 3), seed=1).state_dict(), source)
    (tmp_path / "bad.npy").write_bytes(b"")
    options = [
        "--force",
        "--check-inputs",
        str(tmp_path / "bad.npy"),
        "--check-outputs",
        str(tmp_path / "bad.npy"),
    ]
    refusal(source, tmp_path / "models", *options)


def test_replacing_is_undone_when_the_new_folder_cannot_take_its_place(tmp_path, source, monkeypatch):
    """If the disk fails between the two steps of replacing, the old folder is put back."""
    convert(source, tmp_path / "models")
    rename = Path.rename

    def failing(path, target):
        if target.name == "1" and path.name == "1":
            raise OSError(errno.EIO, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    assert "Input/output error" in refusal(source, tmp_path / "models", "--force")


@pytest.mark.parametrize("call", ["fsync", "rename", "mkdir"])
def test_a_full_disk_leaves_nothing(tmp_path, source, monkeypatch, call):
    """Whatever call fails, the destination is as it was, and is not made if it was not there."""

    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(
        *{"fsync": (os, "fsync"), "rename": (Path, "rename"), "mkdir": (Path, "mkdir")}[call], full
    )
    assert "No space left on device" in refusal(source, tmp_path / "new" / "models")


def test_an_interrupted_conversion_leaves_nothing(tmp_path, source, monkeypatch):
    """Ctrl-C in the middle leaves nothing either."""

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(conversion, "load_folder", interrupted)
    with pytest.raises(KeyboardInterrupt):
        conversion.convert(
            conversion.ConversionRequest(source=source, destination=tmp_path / "new" / "models")
        )
    assert not (tmp_path / "new").exists()


def test_what_is_being_made_is_not_served(tmp_path, source):
    """A server that looks into the destination meanwhile sees nothing of it."""
    convert(source, tmp_path / "models")
    with new_folder(tmp_path / "models", "other", "1", force=False) as folder:
        folder.write({"config.json": b"{}"})
        registry = Registry.load([tmp_path / "models"], embedded=None)
        assert [model.key for model in registry.models] == ["m@1"]
        assert registry.failed == ()
    assert everything_under(tmp_path / "models").keys() == {
        "m",
        "m/1",
        "m/1/card.md",
        "m/1/config.json",
        "m/1/model.safetensors",
    }


def test_a_folder_that_appears_meanwhile_stays(tmp_path):
    """What somebody else put there while this one was made is not replaced either."""
    with new_folder(tmp_path / "models", "m", "1", force=False) as folder:
        folder.write({"a": b"1"})
        (tmp_path / "models" / "m" / "1").mkdir(parents=True)
        (tmp_path / "models" / "m" / "1" / "theirs").write_text("theirs")
        with pytest.raises(ConversionError, match="is there already"):
            folder.finish()
    assert everything_under(tmp_path / "models").keys() == {"m", "m/1", "m/1/theirs"}


def test_files_are_on_the_disk_before_they_are_in_place(tmp_path, monkeypatch):
    """Each file and the folder are synced before the folder is renamed, and its parent after it."""
    told = []
    sync = os.fsync
    rename = Path.rename

    def synced(descriptor: int) -> None:
        told.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        sync(descriptor)

    def renamed(path, target):
        told.append("rename")
        return rename(path, target)

    monkeypatch.setattr(writer.os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    with new_folder(tmp_path / "models", "m", "1", force=False) as folder:
        folder.write({"a": b"1", "b": b"2"})
        folder.finish()
    assert told == ["a", "b", "1", "rename", "m"]


def test_a_destination_that_is_a_file(tmp_path, source):
    """A destination that is no folder, or lies in none, is refused."""
    (tmp_path / "file").write_text("mine")
    assert "is no folder" in refusal(source, tmp_path / "file")
    with (
        pytest.raises(ConversionError, match="is no folder"),
        new_folder(tmp_path / "file" / "x", "m", "1", force=True),
    ):
        pass
    assert (tmp_path / "file").read_text() == "mine"


def test_the_folder_can_be_read_by_a_server_of_another_user(tmp_path, source):
    """The folder has the permissions that new folders have, not those of a private scratch folder."""
    convert(source, tmp_path / "models")
    (tmp_path / "plain").mkdir()
    plain = stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    for path in (tmp_path / "models" / "m", tmp_path / "models" / "m" / "1"):
        assert stat.S_IMODE(path.stat().st_mode) == plain
