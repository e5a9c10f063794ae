"""Documents of very many steps: the engine is never held up by one, nor are others by many of them."""

import sys
from collections.abc import Generator
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch
from gatehouse_server.engine.bucketing import OfflineBatching
from gatehouse_server.engine.offline_backend import TorchOfflineBackend
from gatehouse_server.engine.packed_documents import PackedDocuments
from gatehouse_server.network.layer_spec import Direction, LayerSpec
from gatehouse_server.network.packing import pack
from gatehouse_server.network.spec import FeatureInputSpec, RecurrentSpec

from tests.engine.test_offline import POISON, Desk
from tests.engine.test_offline_backend import documents_of, driven, network_of

VERY_LONG = 2000
"""Steps: just more than an eighth of those of a batch."""


def desk_of(*, max_batch_documents: int = 128) -> Desk:
    """A desk for which VERY_LONG is just that."""
    batching = OfflineBatching(batch_tokens=8 * (VERY_LONG - 1), max_batch_documents=max_batch_documents)
    return Desk(batching=batching)


def run_for(desk: Desk, seconds: float) -> None:
    """Slices for so long by the desk's clock."""
    end = desk.clock() + seconds
    while desk.clock() < end:
        assert desk.lane.has_work(), "its clock would stand still"
        desk.lane.run(desk.answers)


def answered(desk: Desk) -> list[int]:
    """In the order of their answers."""
    return [ticket.tag for ticket, _ in desk.answers]


def lines_of(work: Generator[None, None, object], pieces: int) -> list[int]:
    """How many lines of Python each of the first pieces takes."""
    counts: list[int] = []
    lines = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    try:
        while len(counts) < pieces:
            lines = 0
            sys.settrace(trace)
            next(work)
            sys.settrace(before)
            counts.append(lines)
    finally:
        sys.settrace(before)
    return counts


# How many steps further pieces of fused kernels have is measured.
@pytest.mark.parametrize(("fused", "pieces"), [(False, 20), (True, 3)], ids=["stepped", "fused"])
@pytest.mark.parametrize("folded", [True, False], ids=["folded", "unfolded"])
@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_no_piece_takes_longer_for_a_longer_document(
    direction: Direction, folded: bool, fused: bool, pieces: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is done for all steps at once, before the first of them is read, is done without a loop in Python."""
    monkeypatch.setattr("gatehouse_server.network.network.are_layers_fused", lambda *_: fused)
    layer = LayerSpec(cell="gru", input_size=4, hidden_size=8, direction=direction)
    network, _ = network_of(RecurrentSpec(layers=(layer,)), folded=folded)
    most_lines = [
        max(lines_of(TorchOfflineBackend(network).score(documents_of(network, [steps])), pieces))
        for steps in (5_000, 100_000)
    ]
    assert most_lines[1] < 2 * most_lines[0]


def test_many_features_are_copied_in_pieces() -> None:
    """A document of some megabytes is given to the network as it is, with a yield after each part of it."""
    spec = FeatureInputSpec(size=30)
    drawn = np.random.default_rng(0)
    documents = [drawn.standard_normal((steps, spec.size), dtype=np.float32) for steps in (30_000, 20)]
    inputs, pieces = driven(PackedDocuments(documents, spec, start_token=None).inputs(pinned=False))
    assert torch.equal(inputs, pack([torch.from_numpy(document) for document in documents]).data)
    assert pieces > 10


def test_many_very_long_documents_do_not_hold_up_short_ones() -> None:
    """However many of them wait, one batch of them is computed at a time, and short ones beside it, as they come."""
    desk = desk_of(max_batch_documents=1)
    for number in (1, 2, 3):
        desk.accept(number, VERY_LONG)
    run_for(desk, 1.0)
    for number in (4, 5, 6):
        desk.accept(number, 3)
        run_for(desk, 0.1)
        assert answered(desk)[-1] == number
    assert desk.backend.batches == [[1], [4], [5], [6]]
    desk.finish()
    assert answered(desk) == [4, 5, 6, 1, 2, 3]


def test_short_documents_that_keep_coming_do_not_hold_up_a_long_one() -> None:
    """It has every other slice, though one more short document comes at each, and they are answered in the others."""
    desk = desk_of()
    desk.accept(1, VERY_LONG // 4)
    run_for(desk, 0.3)
    for number in range(1000, 1600):
        desk.accept(number, 1)
        desk.lane.run(desk.answers)
    assert 1 in answered(desk)
    assert answered(desk).index(1) > 500


def test_very_long_documents_that_failed_together_do_not_hold_up_short_ones() -> None:
    """They are tried again one after the other, and short ones are computed beside them."""
    desk = desk_of()
    desk.accept(POISON, VERY_LONG)
    for number in (1, 2, 3):
        desk.accept(number, VERY_LONG)
    run_for(desk, 1.0)
    desk.accept(4, 3)
    run_for(desk, 0.1)
    assert answered(desk) == [4]
    desk.finish()
    assert sorted(answered(desk)) == [1, 2, 3, 4, POISON]


def test_a_short_document_is_not_in_a_batch_with_a_very_long_one() -> None:
    """It would be answered as late; those that are alike are computed together."""
    desk = desk_of()
    for number, steps in ((1, 3), (2, VERY_LONG), (3, VERY_LONG - 1), (4, VERY_LONG + 5)):
        desk.accept(number, steps)
    desk.finish()
    assert desk.backend.batches == [[3, 1], [4, 2]]


def test_a_very_long_document_gets_its_turn_among_others() -> None:
    """Beside ordinary batches that take long, and never leave the lane empty, it is next when it is the oldest."""
    desk = desk_of(max_batch_documents=1)
    for number in range(1, 9):
        desk.accept(number, VERY_LONG if number in (3, 4) else VERY_LONG // 2)
        run_for(desk, 0.3)
    desk.finish()
    batches = [number for (number,) in desk.backend.batches]
    assert batches[:3] == [1, 2, 3]
    assert batches.index(4) < 7
