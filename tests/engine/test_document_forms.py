"""What documents may ask of their steps: the same as torch's own modules say of each document alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from gatehouse_server.engine.batch_memory import batching_of
from gatehouse_server.engine.bucketing import OfflineBatching
from gatehouse_server.engine.documents import DocumentSteps, DocumentWants
from gatehouse_server.engine.offline_backend import BatchScores, DocumentInputs, TorchOfflineBackend
from gatehouse_server.network.layer_spec import Merge
from gatehouse_server.network.network import Network
from gatehouse_server.network.spec import (
    HeadKind,
    HeadSpec,
    NetworkSpec,
    RecurrentSpec,
    TokenInputSpec,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.engine.test_offline_backend import documents_of, driven, network_of
from tests.network.recurrents import mixed_stacks, recurrents

from ..network.oracle import random_parameters, reference

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

VOCABULARY, START = 23, 7
EVERYTHING = DocumentWants(best=3, hidden=True, every_step=True)
LIKELIHOOD = DocumentWants(outputs=False, log_likelihood=True, every_step=True)


def language_model(cell: str = "lstm", *, bits: bool = False) -> tuple[Network, dict[str, Tensor]]:
    """Two layers over 23 words."""
    width = 32 if bits else 9
    spec = NetworkSpec(
        input=TokenInputSpec(vocabulary_size=VOCABULARY, embedding_size=8),
        recurrent=RecurrentSpec.uniform(cell=cell, input_size=8, hidden_size=width, layers=2),
        head=HeadSpec(kind="softmax", size=VOCABULARY),
    )
    parameters = random_parameters(spec)
    return Network.build(spec, parameters), parameters


def answered(network: Network, documents: Sequence[DocumentInputs], wants: DocumentWants) -> BatchScores:
    """The backend's answer."""
    return driven(TorchOfflineBackend(network).score(documents, wants))[0]


def steps_of(answer: BatchScores) -> Sequence[DocumentSteps]:
    """What is told of the steps."""
    assert answer.steps is not None
    return answer.steps


def expected_steps(
    network: Network, parameters: dict[str, Tensor], documents: Sequence[DocumentInputs]
) -> tuple[list[Tensor], list[Tensor]]:
    """Of each document alone, by torch's modules: what the layers hand on (T, R), and the logits (T, O)."""
    sequences = [torch.from_numpy(document) for document in documents]
    if isinstance(network.spec.input, TokenInputSpec):
        sequences = [parameters["embedding.weight"][ids] for ids in sequences]
    outputs, _ = reference(network.spec.recurrent, parameters, sequences)
    weight, bias = parameters["head.weight"], parameters["head.bias"]
    return outputs, [output @ weight.T + bias for output in outputs]


def expected_likelihoods(
    parameters: dict[str, Tensor], network: Network, document: DocumentInputs, start: int | None
) -> Tensor:
    """The log-probability of each token (T,): by hand, one after the other, by torch's modules."""
    tokens = torch.from_numpy(document)
    before = tokens if start is None else torch.cat([torch.tensor([start]), tokens])
    sequence = parameters["embedding.weight"][before]
    (outputs,), _ = reference(network.spec.recurrent, parameters, [sequence])
    if start is None:  # what the state before anything hands on: zeros, unless it is part of the parameters
        layers = network.spec.recurrent.layers
        begins = parameters[f"rnn.initial_h_l{len(layers) - 1}"] if layers[-1].initial_state else None
        first = torch.zeros(outputs.shape[1]) if begins is None else begins
        outputs = torch.cat([first.unsqueeze(0), outputs])
    logits = outputs[:-1] @ parameters["head.weight"].T + parameters["head.bias"]
    return torch.log_softmax(logits, dim=1).gather(1, tokens.unsqueeze(1)).squeeze(1)


@settings(max_examples=50, deadline=None)
@given(
    recurrent=recurrents() | mixed_stacks(),
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=30).map(lambda lengths: sorted(lengths)[::-1]),
    kind=st.sampled_from(["softmax", "sigmoid", "linear"]),
    tokens=st.booleans(),
)
def test_outputs_of_each_step_equal_torch_on_each_document_alone(
    recurrent: RecurrentSpec, lengths: list[int], kind: HeadKind, tokens: bool
) -> None:
    """Every cell, merge and head: the whole output, the best of it, and what the recurrent layers hand on."""
    network, parameters = network_of(recurrent, tokens=tokens, pooling=(), kind=kind)
    documents = documents_of(network, lengths)
    answer = answered(network, documents, EVERYTHING)
    assert answer.scores is None
    assert answer.hidden is None
    for steps, hidden, logits in zip(
        steps_of(answer), *expected_steps(network, parameters, documents), strict=True
    ):
        outputs = {"softmax": logits.softmax(1), "sigmoid": logits.sigmoid(), "linear": logits}[kind].numpy()
        assert steps.hidden is not None
        assert steps.outputs is not None
        assert steps.best_ids is not None
        assert steps.best_values is not None
        np.testing.assert_allclose(steps.hidden, hidden, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(steps.outputs, outputs, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(steps.best_values, -np.sort(-outputs)[:, :3], rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(
            steps.best_values, np.take_along_axis(steps.outputs, steps.best_ids, axis=1)
        )


@pytest.mark.parametrize("tokens", [True, False])
def test_outputs_of_each_step_by_fused_kernels_equal_torch(
    tokens: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a GPU reads with hands out the same, each row where it belongs."""
    monkeypatch.setattr("gatehouse_server.network.network.are_layers_fused", lambda *_: True)
    for merge in ("concat", "multiply"):
        recurrent = RecurrentSpec.uniform(
            cell="gru", input_size=4, hidden_size=8, layers=2, bidirectional=True, merge=merge
        )
        network, parameters = network_of(recurrent, tokens=tokens, pooling=())
        documents = documents_of(network, [40] * 30 + [13] * 20 + [1] * 10)
        answer = answered(network, documents, EVERYTHING)
        for steps, hidden in zip(
            steps_of(answer), expected_steps(network, parameters, documents)[0], strict=True
        ):
            assert steps.hidden is not None
            np.testing.assert_allclose(steps.hidden, hidden, atol=1e-5)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn_tanh"])
@pytest.mark.parametrize("start", [None, START])
def test_likelihoods_equal_torch_token_by_token(cell: str, start: int | None) -> None:
    """Of every token, the first one included, which follows the start token, or the initial state where there is none;
    and their sum, with or without them."""
    network, parameters = language_model(cell)
    documents = documents_of(network, [50, 31, 31, 2, 1, 1])
    wants = DocumentWants(outputs=False, log_likelihood=True, every_step=True, start_token=start)
    answer = answered(network, documents, wants)
    sums = answered(network, documents, DocumentWants(outputs=False, log_likelihood=True, start_token=start))
    assert answer.log_likelihoods is not None
    assert sums.log_likelihoods is not None
    assert sums.steps is None
    for number, (document, steps) in enumerate(zip(documents, steps_of(answer), strict=True)):
        expected = expected_likelihoods(parameters, network, document, start)
        assert steps.log_probabilities is not None
        np.testing.assert_allclose(steps.log_probabilities, expected, atol=1e-5)
        assert answer.log_likelihoods[number] == pytest.approx(float(expected.double().sum()), abs=1e-4)
    np.testing.assert_array_equal(answer.log_likelihoods, sums.log_likelihoods)


@settings(max_examples=25, deadline=None)
@given(recurrent=mixed_stacks(causal=True), start=st.none() | st.just(START))
def test_likelihoods_of_any_stack_equal_the_equations(recurrent: RecurrentSpec, start: int | None) -> None:
    """Layers of different cells on top of each other, in states that are part of the parameters."""
    spec = NetworkSpec(
        input=TokenInputSpec(vocabulary_size=VOCABULARY, embedding_size=recurrent.input_size),
        recurrent=recurrent,
        head=HeadSpec(kind="softmax", size=VOCABULARY),
    )
    parameters = random_parameters(spec)
    network = Network.build(spec, parameters)
    documents = documents_of(network, [11, 5, 1])
    wants = DocumentWants(outputs=False, log_likelihood=True, every_step=True, start_token=start)
    for document, steps in zip(documents, steps_of(answered(network, documents, wants)), strict=True):
        expected = expected_likelihoods(parameters, network, document, start)
        assert steps.log_probabilities is not None
        np.testing.assert_allclose(steps.log_probabilities, expected, rtol=1e-5, atol=1e-5)


def test_outputs_of_a_language_model_begin_with_its_start_token() -> None:
    """It is consumed before the first step and is none itself: at the end, and of each step."""
    network, parameters = language_model()
    documents = documents_of(network, [9, 4])
    wants = DocumentWants(logarithmic=True, hidden=True, every_step=True, start_token=START)
    last = DocumentWants(logarithmic=True, hidden=True, start_token=START)
    with_start = [np.concatenate([[START], document]) for document in documents]
    hidden, logits = expected_steps(network, parameters, with_start)
    ends = answered(network, documents, last)
    assert ends.scores is not None
    assert ends.hidden is not None
    for number, steps in enumerate(steps_of(answered(network, documents, wants))):
        expected = torch.log_softmax(logits[number][1:], dim=1)
        assert steps.outputs is not None
        assert steps.hidden is not None
        np.testing.assert_allclose(steps.outputs, expected, atol=1e-5)
        np.testing.assert_allclose(steps.hidden, hidden[number][1:], atol=1e-5)
        np.testing.assert_allclose(ends.scores[number], expected[-1], atol=1e-5)
        np.testing.assert_allclose(ends.hidden[number], hidden[number][-1], atol=1e-5)


@pytest.mark.parametrize("merge", ["concat", "average"])
def test_outputs_of_steps_do_not_depend_on_the_neighbours(merge: Merge) -> None:
    """A document alone and in any company gets the same to the bit."""
    recurrent = RecurrentSpec.uniform(
        cell="lstm", input_size=8, hidden_size=32, layers=2, bidirectional=True, merge=merge
    )
    network, _ = network_of(recurrent, pooling=())
    assert network.reproducible
    documents = documents_of(network, [700, 90, 90, 77, 40, 3, 1])
    for document, together in zip(documents, steps_of(answered(network, documents, EVERYTHING)), strict=True):
        (alone,) = steps_of(answered(network, [document], EVERYTHING))
        for name in ("outputs", "hidden", "best_values", "best_ids"):
            np.testing.assert_array_equal(getattr(alone, name), getattr(together, name))


def test_likelihoods_do_not_depend_on_the_neighbours() -> None:
    """Nor do they, to the bit."""
    network, _ = language_model(bits=True)
    assert network.reproducible
    documents = documents_of(network, [300, 90, 77, 3, 1])
    together = answered(network, documents, LIKELIHOOD).log_likelihoods
    assert together is not None
    for number, document in enumerate(documents):
        alone = answered(network, [document], LIKELIHOOD).log_likelihoods
        assert alone is not None
        assert alone[0] == together[number]


def test_the_network_may_be_used_while_steps_are_handed_out() -> None:
    """Online steps on the same network, run at every yield, change neither side's results by a bit."""
    network, _ = language_model(bits=True)
    documents = documents_of(network, [60, 55, 20, 20, 9])
    wants = DocumentWants(hidden=True, logarithmic=True, log_likelihood=True, every_step=True)
    undisturbed = steps_of(answered(network, documents, wants))
    chunk = torch.arange(21) % VOCABULARY
    quiet = network.scan(chunk, (3,) * 7, network.layout.zeros(3)).clone()

    def disturb() -> None:
        assert torch.equal(network.scan(chunk, (3,) * 7, network.layout.zeros(3)), quiet)

    result, pieces = driven(TorchOfflineBackend(network).score(documents, wants), disturb)
    for mine, theirs in zip(steps_of(result), undisturbed, strict=True):
        np.testing.assert_array_equal(mine.outputs, theirs.outputs)
        np.testing.assert_array_equal(mine.hidden, theirs.hidden)
        np.testing.assert_array_equal(mine.log_probabilities, theirs.log_probabilities)
    assert pieces > 20


def test_a_wide_output_layer_takes_few_rows_at_once() -> None:
    """Of 30,000 words: hundreds of steps go through the output layer in pieces, so that the device is free between."""
    spec = NetworkSpec(
        input=TokenInputSpec(vocabulary_size=30_000, embedding_size=8),
        recurrent=RecurrentSpec.uniform(cell="gru", input_size=8, hidden_size=128),
        head=HeadSpec(kind="softmax", size=30_000),
    )
    network = Network.build(spec, random_parameters(spec))
    documents = [np.arange(20)] * 30
    _, pieces = driven(TorchOfflineBackend(network).score(documents, LIKELIHOOD))
    _, without = driven(
        TorchOfflineBackend(network).score(documents, DocumentWants(outputs=False, hidden=True))
    )
    assert pieces - without >= 20


def test_activations_of_a_document_are_those_of_its_steps() -> None:
    """One entry for each layer, without the step of the start token; too many of them are refused."""
    network, _ = language_model()
    documents = documents_of(network, [9])
    wants = DocumentWants(outputs=False, activations=True, hidden=True, every_step=True, start_token=START)
    answer = answered(network, documents, wants)
    assert answer.activations is not None
    ((below, top),) = answer.activations
    assert (below.layer, top.layer) == (0, 1)
    hidden = steps_of(answer)[0].hidden
    assert hidden is not None
    np.testing.assert_allclose(top.values["hidden"], hidden, atol=1e-5)
    assert top.values["forget"].shape == (9, 9)


def test_much_that_is_kept_of_each_step_makes_batches_small() -> None:
    """The answers of a batch take a bounded amount; activations are looked at one document at a time."""
    spec = NetworkSpec(
        input=TokenInputSpec(vocabulary_size=30_000, embedding_size=8),
        recurrent=RecurrentSpec.uniform(cell="gru", input_size=8, hidden_size=16),
        head=HeadSpec(kind="softmax", size=30_000),
    )
    batching = OfflineBatching()
    assert batching_of(batching, spec, DocumentWants()) == batching
    every = batching_of(batching, spec, DocumentWants(every_step=True))
    assert 100 < every.batch_tokens < 64 * 2**20 // (4 * 30_000) + 1
    assert batching_of(batching, spec, DocumentWants(activations=True)).max_batch_documents == 1
