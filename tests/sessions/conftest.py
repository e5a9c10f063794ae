"""Tiny models of the three kinds, and a desk to drive sessions on them."""

from pathlib import Path

import pytest
from gatehouse_server.models.registry import Registry

from tests.sessions.desk import Desk
from tests.tiny import write_tiny_classifier, write_tiny_features, write_tiny_keyboard


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


@pytest.fixture
def desk(registry: Registry) -> Desk:
    """A desk with its own sessions."""
    return Desk(registry)
