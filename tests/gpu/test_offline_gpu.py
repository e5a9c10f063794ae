"""Documents on a GPU score what they score on a CPU, in slices of about a millisecond."""

import time

import numpy as np
import pytest
import torch
from gatehouse_server.app.arithmetic import prepare_device
from gatehouse_server.engine.documents import DocumentWants
from gatehouse_server.engine.offline_backend import TorchOfflineBackend
from gatehouse_server.network.arithmetic import FLOAT32, Arithmetic
from gatehouse_server.network.fused_reading import FusedReader
from gatehouse_server.network.network import Network
from gatehouse_server.network.spec import (
    FeatureInputSpec,
    HeadSpec,
    NetworkSpec,
    RecurrentSpec,
    TokenInputSpec,
)
from gatehouse_server.network.stepped_reading import SteppedReader

from tests.gpu.model import weights_of

pytestmark = pytest.mark.gpu

VOCABULARY = 5_000
LENGTHS = [400] * 40 + [399, 398, 320, 320, 250] + [90] * 30 + [7, 2, 1, 1]
RECURRENTS = {
    "lstm": {"cell": "lstm"},
    "deep": {"cell": "lstm", "layers": 3, "bidirectional": True},
    "projected": {"cell": "lstm", "projection_size": 48, "bidirectional": True, "layers": 2},
    "gru": {"cell": "gru", "layers": 2, "bidirectional": True, "merge": "sum"},
    "tanh": {"cell": "rnn_tanh", "bidirectional": True, "merge": "average"},
    "relu": {"cell": "rnn_relu", "bidirectional": True, "merge": "multiply"},
    "bare": {"cell": "gru", "bias": False, "bidirectional": True},
    "odd": {"cell": "lstm", "hidden_size": 45, "bidirectional": True},
}


def spec_of(name, *, tokens=True, pooling=("mean", "max", "last")):
    """Twelve sigmoids over pooled outputs."""
    recurrent = RecurrentSpec.uniform(**({"input_size": 64, "hidden_size": 128} | RECURRENTS[name]))
    return NetworkSpec(
        input=TokenInputSpec(vocabulary_size=VOCABULARY, embedding_size=64)
        if tokens
        else FeatureInputSpec(size=64),
        recurrent=recurrent,
        pooling=pooling,
        head=HeadSpec(kind="sigmoid", size=12),
    )


def documents_of(spec, lengths, seed=0):
    """Random ones."""
    random = np.random.default_rng(seed)
    if isinstance(spec.input, TokenInputSpec):
        return [random.integers(0, VOCABULARY, length) for length in lengths]
    return [random.standard_normal((length, 64), dtype=np.float32) for length in lengths]


def network_on(device, spec, arithmetic=FLOAT32):
    """The same weights each time."""
    return Network.build(spec, weights_of(spec), device, arithmetic=arithmetic)


def scores_of(network, documents, between=lambda: None):
    """By the backend, to the end; and the seconds of each piece."""
    work = TorchOfflineBackend(network).score(documents)
    seconds = []
    while True:
        began = time.perf_counter()
        try:
            next(work)
        except StopIteration as finished:
            return finished.value.scores, seconds
        seconds.append(time.perf_counter() - began)
        between()


def answer_of(network, documents, wants):
    """What the backend answers."""
    work = TorchOfflineBackend(network).score(documents, wants)
    while True:
        try:
            next(work)
        except StopIteration as finished:
            return finished.value


@pytest.mark.parametrize("tokens", [True, False])
@pytest.mark.parametrize("name", RECURRENTS)
def test_a_gpu_scores_what_a_cpu_scores(name, tokens, device):
    """Every cell, merge and pooling, ragged, in float32; again, and beside another batch."""
    spec = spec_of(name, tokens=tokens)
    network = network_on(device, spec)
    assert isinstance(network.reader(), FusedReader)
    documents, others = documents_of(spec, LENGTHS), documents_of(spec, [300, 20], seed=1)
    expected, _ = scores_of(network_on("cpu", spec), documents)
    beside = TorchOfflineBackend(network).score(others)
    for between in (lambda: None, lambda: next(beside, None)):
        actual, _ = scores_of(network, documents, between)
        np.testing.assert_allclose(actual, expected, atol=2e-5)


@pytest.mark.parametrize("name", RECURRENTS)
def test_a_gpu_says_of_each_step_what_a_cpu_says(name, device):
    """The best labels, the whole output and what the layers hand on, each where it belongs."""
    spec = spec_of(name, pooling=())
    documents = documents_of(spec, LENGTHS)
    wants = DocumentWants(best=3, hidden=True, every_step=True)
    expected, actual = (answer_of(network_on(each, spec), documents, wants).steps for each in ("cpu", device))
    for mine, theirs in zip(actual, expected, strict=True):
        np.testing.assert_allclose(mine.hidden, theirs.hidden, atol=2e-5)
        np.testing.assert_allclose(mine.outputs, theirs.outputs, atol=2e-5)
        np.testing.assert_allclose(mine.best_values, theirs.best_values, atol=2e-5)


@pytest.mark.parametrize("start", [None, 7])
def test_a_gpu_finds_documents_as_likely_as_a_cpu(start, device):
    """Of each token, with and without a start token."""
    spec = NetworkSpec(
        input=TokenInputSpec(vocabulary_size=VOCABULARY, embedding_size=64),
        recurrent=RecurrentSpec.uniform(cell="lstm", input_size=64, hidden_size=128, layers=2),
        head=HeadSpec(kind="softmax", size=VOCABULARY),
    )
    documents = documents_of(spec, LENGTHS)
    wants = DocumentWants(outputs=False, log_likelihood=True, every_step=True, start_token=start)
    expected, actual = (answer_of(network_on(each, spec), documents, wants).steps for each in ("cpu", device))
    for mine, theirs in zip(actual, expected, strict=True):
        np.testing.assert_allclose(mine.log_probabilities, theirs.log_probabilities, atol=5e-5)


@pytest.mark.parametrize("name", ["deep", "gru"])
def test_a_dropped_batch_leaves_the_next_one_right(name, device):
    """Wherever it was."""
    spec = spec_of(name)
    network = network_on(device, spec)
    documents = documents_of(spec, LENGTHS)
    expected, _ = scores_of(network_on("cpu", spec), documents)
    backend = TorchOfflineBackend(network)
    for pieces in (1, len(LENGTHS) + 1, len(LENGTHS) + 4):
        work = backend.score(documents_of(spec, LENGTHS, seed=7))
        for _ in range(pieces):
            next(work)
        work.close()
    actual, _ = scores_of(network, documents)
    np.testing.assert_allclose(actual, expected, atol=2e-5)


@pytest.mark.parametrize(
    ("arithmetic", "largest"),
    [
        (Arithmetic(tf32=True), 0.01),
        (Arithmetic(precision="float16"), 0.01),
        (Arithmetic(precision="bfloat16"), 0.02),
    ],
)
def test_other_precisions_are_near(arithmetic, largest, device):
    """And not the same."""
    spec = spec_of("deep")
    documents = documents_of(spec, LENGTHS)
    expected, _ = scores_of(network_on(device, spec), documents)
    prepare_device("cuda", arithmetic)
    actual, _ = scores_of(network_on(device, spec, arithmetic), documents)
    difference = np.abs(actual - expected).max()
    assert 0 < difference < largest


def test_reproducible_documents_do_not_depend_on_their_neighbours(device):
    """The scan reads them then: to the bit."""
    arithmetic = Arithmetic(reproducible=True)
    prepare_device("cuda", arithmetic)
    spec = spec_of("deep")
    network = network_on(device, spec, arithmetic)
    assert isinstance(network.reader(), SteppedReader)
    documents = documents_of(spec, [40, 33, 33, 5])
    together, _ = scores_of(network, documents)
    for row, document in enumerate(documents):
        assert np.array_equal(scores_of(network, [document])[0][0], together[row])


def test_weights_are_held_once(device):
    """On the device: what the network says, and hardly more."""
    spec = NetworkSpec(
        input=FeatureInputSpec(size=512),
        recurrent=RecurrentSpec.uniform(
            cell="lstm", input_size=512, hidden_size=1024, layers=2, bidirectional=True
        ),
        pooling=("mean",),
        head=HeadSpec(kind="sigmoid", size=12),
    )
    before = torch.cuda.memory_allocated(device)
    network = network_on(device, spec)
    held = torch.cuda.memory_allocated(device) - before
    assert network.parameter_bytes <= held < 1.3 * network.parameter_bytes


def test_a_long_document_leaves_the_device_often(device):
    """20,000 steps in both directions: most pieces end within a few milliseconds, on the device, too."""
    spec = spec_of("deep")
    network = network_on(device, spec)
    documents = documents_of(spec, [20_000])
    scores_of(network, documents)
    _, seconds = scores_of(network, documents)
    assert len(seconds) > 50
    assert np.median(seconds) < 0.005
