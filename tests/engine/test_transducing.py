"""Transducing in torch: every document is answered as if torch's own modules had read and written it alone."""

from collections.abc import Generator, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pytest
import torch
from gatehouse_server.engine.transducing import BatchTransductions, Outputs, TorchTransducingBackend
from gatehouse_server.engine.transduction import TransductionWants
from gatehouse_server.network.network import Network
from gatehouse_server.network.spec import (
    FeatureInputSpec,
    HeadSpec,
    InitialSpec,
    NetworkSpec,
    RecurrentSpec,
    TokenInputSpec,
    state_layout,
)
from gatehouse_server.network.transducer import Transducer
from torch import nn

from tests.transducers import Half, TorchTransducer, by_the_book

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

Result = TypeVar("Result")
Document = npt.NDArray[np.int64] | npt.NDArray[np.float32]
READ, WRITTEN, START, END, UNKNOWN = 19, 11, 3, 5, 7
TORCH = {"lstm": nn.LSTM, "gru": nn.GRU}


def pair(
    *,
    cell: str = "gru",
    features: bool = False,
    poolings: tuple[str, ...] = ("last",),
    decoder: dict[str, Any] | None = None,
    bidirectional: bool = True,
) -> tuple[Transducer, TorchTransducer]:
    """A transducer with random weights, and the same in torch's modules."""
    torch.manual_seed(0)
    decoder = decoder or {"hidden_size": 24, "layers": 1}
    width, hidden = 6, 16
    read = RecurrentSpec.uniform(cell=cell, input_size=width, hidden_size=hidden, bidirectional=bidirectional)
    written = RecurrentSpec.uniform(cell=cell, input_size=8, **decoder)
    state_width = state_layout(written).width
    encoder_spec = NetworkSpec(
        input=FeatureInputSpec(size=width)
        if features
        else TokenInputSpec(vocabulary_size=READ, embedding_size=width),
        recurrent=read,
        pooling=poolings,
    )
    decoder_spec = NetworkSpec(
        input=TokenInputSpec(vocabulary_size=WRITTEN, embedding_size=8),
        recurrent=written,
        head=HeadSpec(kind="softmax", size=WRITTEN),
        initial=InitialSpec(size=encoder_spec.summary_size),
    )
    options = {"num_layers": decoder["layers"]} | (
        {"proj_size": decoder["projection_size"]} if "projection_size" in decoder else {}
    )
    oracle = TorchTransducer(
        Half(
            None if features else nn.Embedding(READ, width),
            TORCH[cell](width, hidden, bidirectional=bidirectional),
        ),
        Half(
            nn.Embedding(WRITTEN, 8),
            TORCH[cell](8, decoder["hidden_size"], **options),
            initial=nn.Linear(encoder_spec.summary_size, state_width),
            head=nn.Linear(written.output_size, WRITTEN),
        ),
        poolings=poolings,
        start_id=START,
    )
    with torch.no_grad():  # as torch leaves them, all tokens are about equally likely, and no output ends
        for parameter in oracle.parameters():
            parameter.mul_(2.5)
    weights = oracle.state_dict()
    networks = [
        Network.build(
            spec, {name.removeprefix(part): value for name, value in weights.items() if name.startswith(part)}
        )
        for part, spec in (("encoder.", encoder_spec), ("decoder.", decoder_spec))
    ]
    return (
        Transducer(
            encoder=networks[0],
            decoder=networks[1],
            start_id=START,
            end_id=END,
            suppressed_ids=(START, UNKNOWN),
        ),
        oracle,
    )


def documents_of(lengths: Sequence[int], *, features: bool = False) -> list[Document]:
    """Random documents of these lengths."""
    generator = np.random.default_rng(1)
    if features:
        return [generator.standard_normal((length, 6), dtype=np.float32) for length in lengths]
    return [generator.integers(0, READ, length) for length in lengths]


def driven(work: Generator[None, None, Result]) -> tuple[Result, int]:
    """Drives to the end; the result and how often it yielded."""
    pieces = 0
    while True:
        try:
            next(work)
        except StopIteration as finished:
            result: Result = finished.value
            return result, pieces
        pieces += 1


def transduced(
    transducer: Transducer, documents: Sequence[Document], wants: TransductionWants
) -> list[Outputs]:
    """What the backend answers."""
    batch: BatchTransductions = driven(TorchTransducingBackend(transducer).score(documents, wants))[0]
    assert all(outputs is not None for outputs in batch.outputs)
    return [outputs for outputs in batch.outputs if outputs is not None]


@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"cell": "lstm"},
        {"cell": "lstm", "decoder": {"hidden_size": 20, "layers": 2, "projection_size": 12}},
        {"decoder": {"hidden_size": 12, "layers": 3}, "poolings": ("mean", "max")},
        {"features": True, "bidirectional": False, "poolings": ("last", "mean")},
    ],
    ids=["gru", "lstm", "projected", "deep", "features"],
)
@pytest.mark.parametrize(
    "wants",
    [
        {"max_output_steps": 9},
        {"beam_size": 4, "alternatives": 3, "length_penalty": 0.8, "max_output_steps": 9},
    ],
    ids=["greedy", "beam"],
)
def test_outputs_are_those_of_torchs_modules(shape: dict[str, Any], wants: dict[str, Any]) -> None:
    """Tokens, log-probabilities, scores, and whether the end came, as torch and a search by the book have them."""
    transducer, oracle = pair(**shape)
    documents = documents_of([12, 9, 5, 1], features=shape.get("features", False))
    answers = transduced(transducer, documents, TransductionWants(**wants))
    for document, answer in zip(documents, answers, strict=True):
        expected = by_the_book(oracle.reading(document), end_id=END, banned=(START, UNKNOWN), **wants)
        assert [(each.token_ids, each.ended) for each in answer] == [(each[0], each[3]) for each in expected]
        for hypothesis, (_, total, score, _) in zip(answer, expected, strict=True):
            assert hypothesis.log_probability == pytest.approx(total, abs=2e-5)
            assert hypothesis.score == pytest.approx(score, abs=2e-5)


@pytest.mark.parametrize("beam_size", [1, 5])
def test_the_company_does_not_show_to_the_bit(beam_size: int) -> None:
    """A document among fifty gets exactly what it gets alone, log-probabilities included."""
    transducer, _ = pair()
    assert transducer.reproducible
    documents = documents_of(sorted((1 + 7 * number % 31 for number in range(50)), reverse=True))
    wants = TransductionWants(
        beam_size=beam_size, alternatives=beam_size, length_penalty=0.6, max_output_steps=12
    )
    together = transduced(transducer, documents, wants)
    assert [transduced(transducer, [document], wants)[0] for document in documents] == together


def test_more_hypotheses_than_are_decoded_together_are_decoded_in_turn() -> None:
    """The answers are those of each by itself."""
    transducer, _ = pair()
    documents = documents_of([3] * 40)
    wants = TransductionWants(beam_size=60, max_output_steps=4)
    together = transduced(transducer, documents, wants)
    assert len(together) == 40
    assert transduced(transducer, documents[-1:], wants)[0] == together[-1]


def test_tokens_that_are_never_said_are_not() -> None:
    """Neither the start token nor another control token comes up, however wide the beam."""
    transducer, _ = pair()
    wants = TransductionWants(beam_size=WRITTEN, alternatives=WRITTEN, max_output_steps=6)
    said = {
        token
        for outputs in transduced(transducer, documents_of([4, 4, 4]), wants)
        for each in outputs
        for token in each.token_ids
    }
    assert said
    assert not said & {START, END, UNKNOWN}


def test_the_device_is_let_go_between_the_steps() -> None:
    """At least once for each step of the encoder's directions and of the decoder, so that others may come between."""
    transducer, _ = pair()
    wants = TransductionWants(beam_size=3, alternatives=3, max_output_steps=20)
    batch, pieces = driven(TorchTransducingBackend(transducer).score(documents_of([30, 20]), wants))
    longest = max(len(each.token_ids) for outputs in batch.outputs or () for each in outputs or ())
    assert pieces > longest
    assert batch.computed_steps == 50


def test_what_is_not_finite_costs_its_document_alone() -> None:
    """A document whose values are beyond the model has no outputs; its neighbour has the ones that it has alone."""
    transducer, _ = pair(features=True, poolings=("mean",))
    good = documents_of([3], features=True)[0]
    bad = np.full((4, 6), np.nan, dtype=np.float32)
    wants = TransductionWants(beam_size=2, max_output_steps=4)
    batch, _ = driven(TorchTransducingBackend(transducer).score([bad, good], wants))
    assert batch.outputs == [None, transduced(transducer, [good], wants)[0]]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"start_id": WRITTEN}, "start_id"),
        ({"end_id": -1}, "end_id"),
        ({"suppressed_ids": (END,)}, "suppressed_ids"),
    ],
)
def test_tokens_that_the_decoder_lacks_are_refused(changed: dict[str, Any], told: str) -> None:
    """When the halves are put together, not when a document comes."""
    transducer, _ = pair()
    given: dict[str, Any] = {
        "encoder": transducer.encoder,
        "decoder": transducer.decoder,
        "start_id": START,
        "end_id": END,
    }
    with pytest.raises(ValueError, match=told):
        Transducer(**(given | changed))


def test_halves_that_do_not_fit_are_refused() -> None:
    """A decoder whose bridge reads another number of values than the encoder hands on."""
    small, _ = pair()
    large, _ = pair(poolings=("mean", "max"))
    with pytest.raises(ValueError, match=r"reads the encoder's 64 values, got 32"):
        Transducer(encoder=large.encoder, decoder=small.decoder, start_id=START, end_id=END)
    with pytest.raises(ValueError, match="got none"):
        Transducer(encoder=small.encoder, decoder=small.encoder, start_id=START, end_id=END)
