"""Models for the tests of the wire."""

from pathlib import Path

import pytest
from gatehouse_server.models.registry import Registry

from tests.tiny import (
    write_tiny_classifier,
    write_tiny_features,
    write_tiny_keyboard,
    write_tiny_transducer,
)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """A keyboard, a classifier, a regressor, a transducer, and one folder with a defect."""
    root: Path = tmp_path_factory.mktemp("models")
    write_tiny_keyboard(root / "keyboard" / "1")
    write_tiny_classifier(root / "topics" / "1")
    write_tiny_features(root / "motion" / "1")
    write_tiny_transducer(root / "short" / "1")
    write_tiny_classifier(root / "broken" / "3")
    (root / "broken" / "3" / "model.safetensors").write_bytes(b"not safetensors")
    return Registry.load([root], embedded=None)
