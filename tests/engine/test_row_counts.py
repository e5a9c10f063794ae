"""Tiles are computed with few numbers of rows, whatever number they have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gatehouse_server.engine.programs import TickArithmetic
from gatehouse_server.engine.recorded_programs import TILE_ROWS, RecordedPrograms
from gatehouse_server.engine.row_counts import places_of
from gatehouse_server.network.network import Network
from gatehouse_server.network.recording import record
from gatehouse_server.network.spec import (
    HeadSpec,
    NetworkSpec,
    RecurrentSpec,
    TokenInputSpec,
    parameter_shapes,
)

COUNTS = range(1, TILE_ROWS + 1)


def test_every_row_is_computed_and_only_the_last_one_repeatedly() -> None:
    """In order, with at most a quarter more than there are, and no more than a tile has."""
    for rows in COUNTS:
        places = places_of(rows)
        if places is None:
            continue
        assert places[:rows].tolist() == list(range(rows))
        assert set(places[rows:].tolist()) == {rows - 1}
        assert rows < len(places) <= min(1.25 * rows, TILE_ROWS)


@pytest.mark.parametrize(("reproducible", "numbers"), [(True, 36), (False, TILE_ROWS)])
def test_recordings_meet_few_numbers_of_rows(
    monkeypatch: pytest.MonkeyPatch, reproducible: bool, numbers: int
) -> None:
    """36 for all sizes of a tile. Where a row depends on its place, each row is computed once."""
    import gatehouse_server.engine.recorded_programs as module

    met: set[int] = set()

    def watched(computation: Any, example: Any) -> Any:
        call = record(computation, example)

        def watching(*inputs: torch.Tensor) -> Any:
            met.update(len(each) for each in inputs)
            return call(*inputs)

        return watching

    monkeypatch.setattr(module, "record", watched)
    spec = NetworkSpec(
        input=TokenInputSpec(vocabulary_size=50, embedding_size=4),
        recurrent=RecurrentSpec.uniform(cell="gru", input_size=4, hidden_size=6),
        head=HeadSpec(kind="softmax", size=50),
    )
    generator = torch.Generator().manual_seed(0)
    net = Network.build(
        spec,
        {name: torch.randn(shape, generator=generator) for name, shape in parameter_shapes(spec).items()},
    )
    monkeypatch.setattr(type(net), "reproducible", property(lambda network: reproducible))
    programs = RecordedPrograms(TickArithmetic(net, net.layout.zeros(2 * TILE_ROWS + 1), []))
    with torch.inference_mode():
        for rows in COUNTS:
            places = np.arange(rows, dtype=np.int64)
            _, reading = programs.step_and_read(places % 50, places, places + TILE_ROWS, 5, None)
            assert len(reading.ids) == len(reading.values) == rows
            assert len(reading.logits) == len(reading.normalizer) == rows
    assert len(met) == numbers
