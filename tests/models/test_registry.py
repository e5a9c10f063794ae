"""Which models are served."""

import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from gatehouse_server.errors import ModelFailed, ModelFolderError, ModelNotFound
from gatehouse_server.models.finding import is_gone
from gatehouse_server.models.model import LoadedModel
from gatehouse_server.models.registry import FailedModel, Registry, version_order

from tests.tiny import write_tiny_classifier, write_tiny_features, write_tiny_keyboard


def load(*directories: Path, embedded: Path | None = None) -> Registry:
    return Registry.load(directories, embedded=embedded)


def test_models_are_found_by_name_and_by_version(tmp_path: Path) -> None:
    """A name means its newest version, in the order in which people count."""
    for version in ("2", "10", "9"):
        write_tiny_features(tmp_path / "motion" / version)
    write_tiny_keyboard(tmp_path / "keyboard" / "1")
    registry = load(tmp_path)
    assert [model.key for model in registry.models] == ["keyboard@1", "motion@2", "motion@9", "motion@10"]
    assert registry.get("motion").key == "motion@10"
    assert registry.get("motion@2").key == "motion@2"
    assert registry.failed == ()


@pytest.mark.parametrize(
    "versions",
    [
        ["1", "2", "10"],
        ["1.9", "1.10", "2"],
        ["1", "1.1", "1.1.1"],
        ["2026-01-31", "2026-11-02"],
        ["a", "b", "1"],
    ],
)
def test_version_order(versions: list[str]) -> None:
    """Numbers inside versions count as numbers."""
    shuffled = versions[1:] + versions[:1]
    assert sorted(shuffled, key=version_order) == versions


def test_unknown_model_is_told_with_what_there_is(tmp_path: Path) -> None:
    """Asking for what is not there lists what is."""
    write_tiny_features(tmp_path / "motion" / "1")
    registry = load(tmp_path)
    for key in ("keyboard", "motion@2", "", "motion@", "@1"):
        with pytest.raises(ModelNotFound) as caught:
            registry.get(key)
        assert str(caught.value) == f"no model {key!r}; available: motion@1"
        assert caught.value.metadata == {"model": key, "available": "motion@1"}


def test_no_models_at_all(tmp_path: Path) -> None:
    """An empty directory is a registry without models."""
    with pytest.raises(ModelNotFound, match="available: none"):
        load(tmp_path).get("keyboard")


def test_broken_folder_stops_only_itself(tmp_path: Path) -> None:
    """A defect is recorded with its line, told to who asks for that model, and the others load."""
    write_tiny_features(tmp_path / "motion" / "1")
    (write_tiny_classifier(tmp_path / "topics" / "1") / "model.safetensors").unlink()
    registry = load(tmp_path)
    assert [model.key for model in registry.models] == ["motion@1"]
    (failure,) = registry.failed
    assert (failure.key, failure.path) == ("topics@1", tmp_path / "topics" / "1")
    assert "model.safetensors is missing" in failure.problem
    for key in ("topics", "topics@1"):
        with pytest.raises(ModelFailed, match=r"could not be loaded: .*model.safetensors is missing"):
            registry.get(key)


def test_newest_version_that_loads_serves_the_name(tmp_path: Path) -> None:
    """A broken new version leaves the older one serving the name, but not its own key."""
    write_tiny_features(tmp_path / "motion" / "1")
    (write_tiny_features(tmp_path / "motion" / "2") / "config.json").write_text("{")
    registry = load(tmp_path)
    assert registry.get("motion").key == "motion@1"
    with pytest.raises(ModelFailed):
        registry.get("motion@2")


def test_later_directory_overrides(tmp_path: Path) -> None:
    """Of two folders for one model the later directory's is served, the embedded ones coming first."""
    for number, name in enumerate(("embedded", "first", "second")):
        write_tiny_features(tmp_path / name / "motion" / "1", seed=number)
    write_tiny_features(tmp_path / "embedded" / "other" / "1")
    alone = [load(tmp_path / name).get("motion").fingerprint for name in ("embedded", "first", "second")]
    assert len(set(alone)) == 3
    registry = load(tmp_path / "first", tmp_path / "second", embedded=tmp_path / "embedded")
    assert registry.get("motion").fingerprint == alone[2]
    assert registry.get("other").key == "other@1"


def test_broken_override_is_not_replaced_by_other_weights(tmp_path: Path) -> None:
    """Where the later folder is broken, the earlier one is not served in its place."""
    write_tiny_features(tmp_path / "first" / "motion" / "1")
    (write_tiny_features(tmp_path / "second" / "motion" / "1") / "config.json").write_text("{")
    with pytest.raises(ModelFailed):
        load(tmp_path / "first", tmp_path / "second").get("motion")


@pytest.mark.parametrize("depth", ["", "motion"])
def test_folder_at_the_wrong_depth_is_reported(tmp_path: Path, depth: str) -> None:
    """A model put one or two levels too high is found and told where it belongs."""
    model = write_tiny_features(tmp_path / "models" / depth / "x" / "1")
    directory = model if not depth else model.parent.parent
    if depth:
        for file in model.iterdir():
            file.rename(directory / file.name)
    registry = load(directory if not depth else directory.parent)
    assert registry.models == ()
    assert (
        "config.json lies outside a version's folder; models are <name>/<version>/"
        in registry.failed[0].problem
    )


def forbid(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody may look into the folder, as when it is another user's. An administrator may look into anything."""
    iterdir = Path.iterdir

    def forbidden(path: Path) -> Iterator[Path]:
        if path == folder:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", forbidden)


def test_a_folder_that_may_not_be_looked_into_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told under its name, and the others load."""
    write_tiny_features(tmp_path / "motion" / "1")
    (tmp_path / "topics").mkdir()
    forbid(tmp_path / "topics", monkeypatch)
    registry = load(tmp_path)
    assert [model.key for model in registry.models] == ["motion@1"]
    (failure,) = registry.failed
    assert (failure.key, failure.path) == ("topics", tmp_path / "topics")
    assert "topics: cannot be looked into (Permission denied); let the server's user" in failure.problem


def test_an_override_that_may_not_be_looked_into_is_not_replaced_by_other_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows which versions the later folder has, so no earlier one of the name is served."""
    write_tiny_features(tmp_path / "first" / "motion" / "1")
    write_tiny_classifier(tmp_path / "first" / "topics" / "1")
    (tmp_path / "second" / "motion").mkdir(parents=True)
    forbid(tmp_path / "second" / "motion", monkeypatch)
    registry = load(tmp_path / "first", tmp_path / "second")
    assert [model.key for model in registry.models] == ["topics@1"]
    with pytest.raises(ModelFailed, match="cannot be looked into"):
        registry.get("motion")


def test_only_a_folder_that_is_not_there_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One beneath a folder that is closed may still be there."""
    assert not is_gone(tmp_path)
    assert is_gone(tmp_path / "motion")

    def forbidden(path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_dir", forbidden)
    assert not is_gone(tmp_path)


def test_a_folder_that_is_taken_away_meanwhile_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between listing and looking it may go."""
    write_tiny_features(tmp_path / "motion" / "1")
    (tmp_path / "topics").mkdir()
    is_dir = Path.is_dir

    def goes(path: Path) -> bool:
        was = is_dir(path)
        if path.name == "topics":
            path.rmdir()
        return was

    monkeypatch.setattr(Path, "is_dir", goes)
    registry = load(tmp_path)
    assert [model.key for model in registry.models] == ["motion@1"]
    assert registry.failed == ()


def test_a_directory_that_may_not_be_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stops the start as a mistyped one does, in one line."""
    forbid(tmp_path, monkeypatch)
    with pytest.raises(ModelFolderError, match="cannot be looked into"):
        load(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems refuse such names")
def test_names_that_are_not_utf_8_are_told_as_it(tmp_path: Path) -> None:
    """Metrics and answers are UTF-8, and one odd folder must not keep the others out of them."""
    os.makedirs(os.fsencode(tmp_path) + b"/mod\xe8le/1")
    registry = load(tmp_path)
    (failure,) = registry.failed
    assert failure.key == r"mod\xe8le@1"
    assert r"mod\xe8le/1: config.json is missing" in failure.problem
    with pytest.raises(ModelFailed) as caught:
        registry.get(failure.key)
    assert caught.value.metadata["path"] == rf"{tmp_path}/mod\xe8le/1"


def test_hidden_folders_and_files_are_no_models(tmp_path: Path) -> None:
    """What version control, caches, file systems and people leave behind is passed over."""
    write_tiny_features(tmp_path / "motion" / "1")
    for stray in (".git/objects", "__pycache__/x", "motion/.cache", "lost+found/#12"):
        (tmp_path / stray).mkdir(parents=True)
    (tmp_path / "README.md").write_text("models")
    registry = load(tmp_path)
    assert [model.key for model in registry.models] == ["motion@1"]
    assert registry.failed == ()


def test_directory_that_is_none(tmp_path: Path) -> None:
    """A mistyped directory stops the start: nobody means to serve nothing."""
    with pytest.raises(ModelFolderError, match="is not a directory; create it"):
        load(tmp_path / "modles")


def test_outcomes_are_told_as_they_come(tmp_path: Path) -> None:
    """Whoever starts the server hears of each model, loaded or failed."""
    write_tiny_features(tmp_path / "motion" / "1")
    (tmp_path / "topics" / "1").mkdir(parents=True)
    heard: list[LoadedModel | FailedModel] = []
    registry = Registry.load([tmp_path], embedded=None, on_loaded=heard.append)
    assert heard == [*registry.models, *registry.failed]
