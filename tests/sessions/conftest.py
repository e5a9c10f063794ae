"""Tiny models of the three kinds, and desks to drive sessions on them."""

from functools import partial
from pathlib import Path

import pytest
from gatehouse_server.models.registry import Registry
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.stores.sqlite import SqliteStore

from tests.sessions.desk import Desk
from tests.sessions.flaky import FlakyStore
from tests.sessions.generating import write_tiny_captions
from tests.sessions.keeping import LIMITS
from tests.sessions.plain_networks import PlainNetwork
from tests.tiny import (
    write_tiny_classifier,
    write_tiny_features,
    write_tiny_keyboard,
    write_tiny_melody,
)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a keyboard, a classifier of documents and a model of features."""
    directory = tmp_path_factory.mktemp("models")
    write_tiny_keyboard(directory / "keyboard" / "1")
    write_tiny_classifier(directory / "topics" / "1")
    write_tiny_features(directory / "motion" / "1")
    return directory


@pytest.fixture(scope="session")
def registry(models: Path) -> Registry:
    """The tiny models, loaded."""
    registry = Registry.load([models], embedded=None)
    assert not registry.failed
    return registry


@pytest.fixture(scope="session")
def oracle(models: Path) -> PlainNetwork:
    """The keyboard in plain torch."""
    return PlainNetwork(models / "keyboard" / "1")


@pytest.fixture
def desk(registry: Registry) -> Desk:
    """A desk with its own sessions."""
    return Desk(registry)


@pytest.fixture(scope="session")
def generating_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of models that can go on, each in its way, and two that can't."""
    directory = tmp_path_factory.mktemp("generating")
    write_tiny_keyboard(directory / "keyboard" / "1")
    write_tiny_melody(directory / "melody" / "1")
    write_tiny_features(directory / "weather" / "1", outputs=3)
    write_tiny_captions(directory / "captions" / "1")
    write_tiny_features(directory / "motion" / "1")
    write_tiny_classifier(directory / "topics" / "1")
    return directory


@pytest.fixture(scope="session")
def generators(generating_models: Path) -> Registry:
    """These models, loaded."""
    registry = Registry.load([generating_models], embedded=None)
    assert not registry.failed
    return registry


@pytest.fixture
def generating(generators: Registry) -> Desk:
    """A desk with these models, and few continuations at a time."""
    return Desk(generators, limits=SessionLimits(max_sessions=64, max_live_sessions=8, max_continuations=64))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a store is."""
    return tmp_path / "sessions.db"


@pytest.fixture
def flaky(path: Path) -> FlakyStore:
    """A store that can be made to fail."""
    return FlakyStore(partial(SqliteStore, path))


@pytest.fixture(params=["async", "sync"])
def kept(request: pytest.FixtureRequest, registry: Registry, path: Path) -> Desk:
    """A desk whose sessions are kept, in either mode."""
    return Desk(registry, limits=LIMITS, open_store=partial(SqliteStore, path), durability=request.param)


@pytest.fixture
def behind(registry: Registry, flaky: FlakyStore) -> Desk:
    """A desk whose sessions are kept a moment after they changed, in a store that can be made to fail."""
    return Desk(registry, limits=LIMITS, open_store=flaky.open)
