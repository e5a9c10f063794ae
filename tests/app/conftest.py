"""Servers in the test's process, their logs, and a collector of their traces."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from gatehouse_server.telemetry.logs import configure_logs

from tests.app.collector import Collector, collecting
from tests.tiny import write_tiny_classifier, write_tiny_keyboard


@pytest.fixture(scope="module")
def two_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small models."""
    root = tmp_path_factory.mktemp("models")
    write_tiny_keyboard(root / "keyboard" / "1")
    write_tiny_classifier(root / "topics" / "1")
    return root


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A keyboard and a classifier, of version 1."""
    write_tiny_keyboard(tmp_path / "models" / "keyboard" / "1")
    write_tiny_classifier(tmp_path / "models" / "topics" / "1")
    return tmp_path / "models"


@pytest.fixture
def untraced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment without the machine's own variables for traces."""
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_EXPORTER", "OTEL_TRACES_SAMPLER"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def collector(untraced: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that the environment names."""
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.target)
        yield collector


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the server logs, at the finest level."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logs(log_format="json", level="debug", stream=stream)
    yield stream
    root.handlers[:], root.level = before
    structlog.reset_defaults()
