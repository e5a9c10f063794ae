"""A server with a model for each form that documents' results may have, and the weights of each for plain torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from tests.service.conftest import launch, stop
from tests.tiny import (
    write_tiny_classifier,
    write_tiny_features,
    write_tiny_keyboard,
    write_tiny_melody,
)
from tests.tiny_documents import write_tiny_sensors, write_tiny_summary, write_tiny_tagger

_MAKERS = {
    "keyboard": write_tiny_keyboard,
    "melody": write_tiny_melody,
    "topics": write_tiny_classifier,
    "tagger": write_tiny_tagger,
    "sensors": write_tiny_sensors,
    "summary": write_tiny_summary,
    "motion": write_tiny_features,
}


@dataclass(frozen=True, kw_only=True)
class DocumentServer:
    """Where it listens, and its models."""

    target: str
    models: Path

    def weights(self, name: str) -> dict[str, Tensor]:
        """A model's parameters, as its folder has them."""
        return load_file(self.models / name / "1" / "model.safetensors")


@contextmanager
def document_server(models: Path, *options: str) -> Iterator[DocumentServer]:
    """Serves them from a folder."""
    for name, make in _MAKERS.items():
        make(models / name / "1")
    process, serving = launch("--models", str(models), "--no-embedded-models", *options)
    try:
        yield DocumentServer(target=serving["grpc"], models=models)
    finally:
        assert stop(process) == 0
