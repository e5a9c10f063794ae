"""The online backend on torch: what it reads from the output layer, whatever the tile and the kind of head."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gatehouse_server.engine.online_backend import HeadRequest, OnlineBatch
from gatehouse_server.engine.recorded_programs import TILE_ROWS
from gatehouse_server.engine.torch_online import TorchOnlineBackend
from gatehouse_server.network.network import Network
from gatehouse_server.network.spec import (
    HeadSpec,
    NetworkSpec,
    RecurrentSpec,
    TokenInputSpec,
    parameter_shapes,
)

V, E, H = 50, 8, 16
NONE = np.empty(0, dtype=np.int64)


def make(kind):
    """A backend for random weights, and the weights."""
    spec = NetworkSpec(
        input=TokenInputSpec(vocabulary_size=V, embedding_size=E),
        recurrent=RecurrentSpec.uniform(cell="gru", input_size=E, hidden_size=H),
        head=HeadSpec(kind=kind, size=V),
    )
    generator = torch.Generator().manual_seed(3)
    weights = {
        name: torch.randn(shape, generator=generator) for name, shape in parameter_shapes(spec).items()
    }
    return TorchOnlineBackend(Network.build(spec, weights), capacity=1000, suppressed=[4, 7]), weights


def outputs(weights, tokens):
    """The head's values after one step of each token, by torch's own modules."""
    rnn = torch.nn.GRU(E, H)
    rnn.load_state_dict({k.removeprefix("rnn."): v for k, v in weights.items() if k.startswith("rnn.")})
    with torch.no_grad():
        hidden, _ = rnn(weights["embedding.weight"][torch.as_tensor(tokens)].unsqueeze(0))
        return hidden[0] @ weights["head.weight"].T + weights["head.bias"]


def one_step(tokens, **request):
    """A batch of one step for each token, from the initial state, with a head request for every row."""
    rows = np.arange(len(tokens), dtype=np.int64)
    head = {
        "rows": rows + len(tokens),
        "ks": np.full(len(tokens), 3, dtype=np.int64),
        "suppressed": None,
        "score_rows": NONE,
        "score_tokens": NONE,
        "vector_rows": NONE,
        "restricted": [],
    }
    return OnlineBatch(
        inputs=np.asarray(tokens),
        batch_sizes=(len(tokens),),
        source_rows=np.zeros(len(tokens), dtype=np.int64),
        target_rows=rows + 1,
        peeked_rows=NONE,
        head=HeadRequest(**(head | request)),
    )


def test_answers_are_right_in_every_tile():
    """Rows beyond the first tile get their own best entries, scores and whole outputs."""
    backend, weights = make("softmax")
    tokens = [(7 * number) % V for number in range(2 * TILE_ROWS + 10)]
    asked = np.array([0, TILE_ROWS + 1, len(tokens) - 1])
    answer = backend.run(
        one_step(tokens, score_rows=asked, score_tokens=np.array([5, 6, 7]), vector_rows=asked[::-1].copy())
    ).head
    expected = torch.log_softmax(outputs(weights, tokens), dim=1).numpy()
    np.testing.assert_allclose(answer.best_values, -np.sort(-expected, axis=1)[:, :3], atol=1e-5)
    np.testing.assert_allclose(answer.scores, expected[asked, [5, 6, 7]], atol=1e-5)
    np.testing.assert_allclose(answer.vectors, expected[asked[::-1]], atol=1e-5)


def test_suppressed_entries_are_missing_only_where_that_is_asked():
    """Entries that are never suggested are left out of some rows' best and stay in the others'; scores keep them."""
    backend, weights = make("softmax")
    tokens = [1, 1]
    answer = backend.run(
        one_step(
            tokens,
            ks=np.full(2, V - 2, dtype=np.int64),
            suppressed=np.array([False, True]),
            score_rows=np.array([1]),
            score_tokens=np.array([4]),
        )
    ).head
    expected = torch.log_softmax(outputs(weights, tokens), dim=1).numpy()
    order = np.argsort(-expected[0])
    assert answer.best_ids[0].tolist() == order[: V - 2].tolist()
    assert answer.best_ids[1].tolist() == [number for number in order if number not in (4, 7)]
    assert answer.scores[0] == pytest.approx(expected[1, 4], abs=1e-5)


@pytest.mark.parametrize(
    "ids", [[10, 11, 12, 13], [3, 17, 30, 49], [20]], ids=["range", "scattered", "single"]
)
def test_restricted_rows_rank_their_candidates_only(ids):
    """The best among given ids, normalised over the whole vocabulary all the same."""
    backend, weights = make("softmax")
    answer = backend.run(one_step([9], restricted=[(0, np.array(ids), 2)])).head
    expected = torch.log_softmax(outputs(weights, [9]), dim=1)[0].numpy()
    found, values = answer.restricted[0]
    best = sorted(ids, key=lambda number: -expected[number])[:2]
    assert found.tolist() == best
    np.testing.assert_allclose(values, expected[best], atol=1e-5)


def test_independent_labels_are_answered_as_log_sigmoids():
    """With a sigmoid head each label's probability is its own."""
    backend, weights = make("sigmoid")
    answer = backend.run(
        one_step([9], score_rows=np.array([0]), score_tokens=np.array([5]), vector_rows=np.array([0]))
    ).head
    expected = torch.nn.functional.logsigmoid(outputs(weights, [9]))[0].numpy()
    np.testing.assert_allclose(answer.vectors[0], expected, atol=1e-5)
    np.testing.assert_allclose(answer.best_values[0], -np.sort(-expected)[:3], atol=1e-5)
    assert answer.scores[0] == pytest.approx(expected[5], abs=1e-5)


def test_a_regression_answers_plain_values():
    """Values of a linear head are not normalised."""
    backend, weights = make("linear")
    answer = backend.run(one_step([9], vector_rows=np.array([0]))).head
    np.testing.assert_allclose(answer.vectors[0], outputs(weights, [9])[0].numpy(), atol=1e-5)


def test_rows_may_ask_for_different_numbers_of_entries():
    """One row that asks for many entries, one for few and one for none are each answered as if alone."""
    backend, weights = make("softmax")
    tokens = [1, 2, 3]
    answer = backend.run(one_step(tokens, ks=np.array([40, 0, 2]))).head
    expected = torch.log_softmax(outputs(weights, tokens), dim=1).numpy()
    assert answer.best_ids[0].tolist() == np.argsort(-expected[0], kind="stable")[:40].tolist()
    assert answer.best_ids[2, :2].tolist() == np.argsort(-expected[2], kind="stable")[:2].tolist()


def test_a_state_that_is_not_finite_is_told_of_its_own_sequence_alone():
    """Infinity and what is no number are found wherever they lie; large values whose sum overflows are finite."""
    spec = NetworkSpec(
        input=TokenInputSpec(vocabulary_size=V, embedding_size=E),
        recurrent=RecurrentSpec.uniform(cell="gru", input_size=E, hidden_size=H),
    )
    weights = {name: torch.zeros(shape) for name, shape in parameter_shapes(spec).items()}
    backend = TorchOnlineBackend(Network.build(spec, weights), capacity=20)
    states = np.zeros((5, H), dtype=np.float32)
    states[1] = 3e38  # a step of this network halves them
    states[2, 3] = np.inf
    states[4, H - 1] = np.nan
    backend.write_states(np.arange(1, 6), states)
    batch = replace(one_step([1] * 5), source_rows=np.arange(1, 6), target_rows=np.arange(6, 11), head=None)
    assert backend.run(batch).finite.tolist() == [True, True, False, True, False]
    sound = replace(batch, source_rows=np.array([1, 2, 1, 4, 2]))
    assert backend.run(sound).finite.tolist() == [True] * 5
