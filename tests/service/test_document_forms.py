"""A real server's tags, vectors, values and likelihoods of documents, against plain torch; and what it refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from gatehouse import Client, Document, aio
from gatehouse.errors import InvalidInputError
from gatehouse.results import DocumentResult
from tokenizers import Tokenizer
from torch import Tensor, nn

from tests.service.document_server import DocumentServer, document_server
from tests.tiny import LABELS

TEXTS = {"a": "a star of the galaxy", "b": "we study the proof of a lemma", "c": "gene", "d": "zzz the  cell"}
LIMIT_BYTES = 200_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DocumentServer]:
    """With a small limit on results."""
    options = ["--max-document-output-bytes", str(LIMIT_BYTES), "--max-document-steps", "20000"]
    with document_server(tmp_path_factory.mktemp("document-forms"), *options) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: DocumentServer) -> Iterator[Client]:
    """Of that server."""
    with Client(server.target) as client:
        yield client


def ids_of(server: DocumentServer, model: str, text: str) -> list[int]:
    """The tokens of a text."""
    tokenizer = Tokenizer.from_file(str(server.models / model / "1" / "tokenizer.json"))
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return ids


def loaded(module: nn.Module, weights: dict[str, Tensor]) -> nn.Module:
    """The module with the weights that the server has of it."""
    names = module.state_dict()
    module.load_state_dict({name: weights[f"rnn.{name}"].float() for name in names})
    return module.eval()


def by_id(results: Iterator[DocumentResult]) -> dict[str, DocumentResult]:
    """All of them, none failed."""
    found = {result.id: result for result in results}
    assert [result.error for result in found.values() if result.error] == []
    return found


def features(steps: int, seed: int = 0) -> Any:
    """Random ones, a numpy array: a buffer, which numpy's types do not tell."""
    return np.random.default_rng(seed).standard_normal((steps, 3), dtype=np.float32)


def test_a_tagger_labels_each_word_as_torch_does(server: DocumentServer, client: Client) -> None:
    """A bidirectional LSTM of two layers: scores of every step, where the words stand in the text, and their ids."""
    weights = server.weights("tagger")
    rnn = loaded(nn.LSTM(8, 16, num_layers=2, bidirectional=True), weights)
    results = by_id(client.tag(TEXTS.items(), model="tagger", k=None))
    for name, text in TEXTS.items():
        ids = ids_of(server, "tagger", text)
        with torch.no_grad():
            outputs = rnn(weights["embedding.weight"][torch.tensor(ids)])[0]
            expected = (outputs @ weights["head.weight"].T + weights["head.bias"]).softmax(dim=1)
        steps = results[name].steps
        assert [step.token_id for step in steps] == ids
        assert [text[step.span] for step in steps] == text.split()
        for step, scores in zip(steps, expected.tolist(), strict=True):
            assert {each.label: each.score for each in step.scores} == pytest.approx(
                dict(zip(LABELS, scores, strict=True)), abs=1e-5
            )
            assert step.label == LABELS[int(np.argmax(scores))]
        assert results[name].scores == ()
        assert results[name].step_count == len(ids)


def test_a_tagger_asked_for_nothing_labels_the_document_by_its_end(
    server: DocumentServer, client: Client
) -> None:
    """The forward output at the last step and the reverse output at the first, as torch's state has them."""
    weights = server.weights("tagger")
    rnn = loaded(nn.LSTM(8, 16, num_layers=2, bidirectional=True), weights)
    result = by_id(client.classify([("b", TEXTS["b"])], model="tagger", vector=True, hidden=True))["b"]
    with torch.no_grad():
        state = rnn(weights["embedding.weight"][torch.tensor(ids_of(server, "tagger", TEXTS["b"]))])[1][0]
        end = torch.cat([state[2], state[3]])
        expected = (weights["head.weight"] @ end + weights["head.bias"]).softmax(dim=0)
    assert result.steps == ()
    np.testing.assert_allclose(np.asarray(result.hidden), end, atol=1e-5)
    np.testing.assert_allclose(np.asarray(result.vector), expected, atol=1e-5)
    assert result.score == pytest.approx(float(expected.max()), abs=1e-5)


def test_several_labels_at_once_are_independent(server: DocumentServer, client: Client) -> None:
    """A sigmoid of each, of the document and of each step, from feature vectors."""
    weights, document = server.weights("sensors"), features(40)
    rnn = loaded(nn.GRU(3, 16), weights)
    with torch.no_grad():
        expected = (
            rnn(torch.from_numpy(document))[0] @ weights["head.weight"].T + weights["head.bias"]
        ).sigmoid()
    source = [Document("x", features=document)]
    whole = by_id(client.classify(source, model="sensors"))["x"]
    every = by_id(client.classify(source, model="sensors", every_step=True, vector=True))["x"]
    assert {each.label: each.score for each in whole.scores} == pytest.approx(
        dict(zip(LABELS, expected[-1].tolist(), strict=True)), abs=1e-5
    )
    vectors = np.array([step.vector for step in every.steps])
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    assert [step.token_id for step in every.steps] == [None] * 40


def test_an_encoder_answers_its_pooled_vector(server: DocumentServer, client: Client) -> None:
    """A bidirectional GRU, mean and last pooled, as torch computes them."""
    weights, document = server.weights("summary"), features(25)
    rnn = loaded(nn.GRU(3, 16, bidirectional=True), weights)
    with torch.no_grad():
        outputs, state = rnn(torch.from_numpy(document))
    expected = torch.cat([outputs.mean(dim=0), state[0], state[1]])
    for results in (
        client.encode([Document("x", features=document)], model="summary"),
        client.classify([Document("x", features=document)], model="summary"),
    ):
        np.testing.assert_allclose(np.asarray(by_id(results)["x"].hidden), expected, atol=1e-5)


def test_a_regression_answers_its_values_at_the_end_or_at_each_step(
    server: DocumentServer, client: Client
) -> None:
    """Without being asked; and what the layers hand on beside them."""
    weights, document = server.weights("motion"), features(300)
    rnn = loaded(nn.GRU(3, 16, num_layers=2), weights)
    with torch.no_grad():
        outputs = rnn(torch.from_numpy(document))[0]
        expected = outputs @ weights["head.weight"].T + weights["head.bias"]
    source = [Document("x", features=document)]
    last = by_id(client.classify(source, model="motion"))["x"]
    every = by_id(client.classify(source, model="motion", every_step=True, hidden=True))["x"]
    np.testing.assert_allclose(np.asarray(last.vector), expected[-1], atol=1e-5)
    np.testing.assert_allclose(np.array([step.vector for step in every.steps]), expected, atol=1e-5)
    np.testing.assert_allclose(np.array([step.hidden for step in every.steps]), outputs, atol=1e-5)
    assert every.vector is None
    assert last.scores == every.scores == ()


@pytest.mark.parametrize(
    ("model", "text"), [("keyboard", "how are you doing? i'm good."), ("melody", "c3 d3 e3 c4 bar")]
)
def test_a_likelihood_is_the_sum_of_what_a_session_says_of_each_token(
    client: Client, model: str, text: str
) -> None:
    """With a start token and without one: the same tokens, the same log-probabilities, to 1e-5."""
    session = client.session(model)
    written = session.append(text=text, scores=True)
    result = by_id(client.score([("x", text)], model=model, every_step=True))["x"]
    alone = by_id(client.classify([("x", text)], model=model))["x"]
    assert tuple(step.token_id for step in result.steps) == written.token_ids
    assert [step.log_probability for step in result.steps] == pytest.approx(list(written.scores), abs=1e-5)
    assert result.log_likelihood == pytest.approx(sum(written.scores), abs=1e-5)
    assert alone.log_likelihood == result.log_likelihood
    assert alone.steps == ()
    session.delete()


def test_a_language_model_says_what_comes_next_as_a_session_does(client: Client) -> None:
    """Log-probabilities of the whole vocabulary after the last step, and what the layers hand on."""
    session = client.session("keyboard")
    written = session.append(text="how are you", vector=True, hidden=True)
    result = by_id(client.classify([("x", "how are you")], model="keyboard", vector=True, hidden=True))["x"]
    np.testing.assert_allclose(np.asarray(result.vector), np.asarray(written.vector), atol=1e-5)
    np.testing.assert_allclose(np.asarray(result.hidden), np.asarray(written.hidden), atol=1e-5)
    assert result.log_likelihood is None
    session.delete()


def test_activations_come_with_the_tokens(client: Client) -> None:
    """Of both directions, a row for each step."""
    result = by_id(client.classify([("x", "the star")], model="topics", activations=True))["x"]
    assert [(layer.layer, layer.reverse) for layer in result.activations] == [(0, False), (0, True)]
    assert result.activations[0].activations[0].steps == 2
    assert result.token_texts == ("the", "star")
    assert len(result.token_ids) == 2
    assert result.label in LABELS


@pytest.mark.parametrize(
    ("model", "asked", "reason", "field"),
    [
        ("topics", {"every_step": True}, "WRONG_MODEL_KIND", "options.steps"),
        ("summary", {"every_step": True}, "WRONG_MODEL_KIND", "options.steps"),
        ("topics", {"log_likelihood": True}, "WRONG_MODEL_KIND", "options.log_likelihood"),
        ("motion", {"log_likelihood": True}, "WRONG_MODEL_KIND", "options.log_likelihood"),
        ("motion", {"k": 1}, "WRONG_MODEL_KIND", "options.k"),
        ("keyboard", {"k": 1}, "WRONG_MODEL_KIND", "options.k"),
        ("summary", {"k": 1}, "WRONG_MODEL_KIND", "options.k"),
        ("summary", {"vector": True}, "WRONG_MODEL_KIND", "options.vector"),
        ("tagger", {"k": 4}, "K_OUT_OF_RANGE", "options.k"),
        ("tagger", {"k": 0, "every_step": True}, "K_OUT_OF_RANGE", "options.k"),
    ],
)
def test_what_a_model_cannot_do_is_refused_by_its_field(
    client: Client, model: str, asked: dict[str, Any], reason: str, field: str
) -> None:
    """The whole call, with the option's name and what the model is."""
    with pytest.raises(InvalidInputError) as caught:
        client.classify_batch([("x", "the")], model=model, **asked)
    assert (caught.value.reason, [each.field for each in caught.value.violations]) == (reason, [field])


def test_a_result_that_would_be_too_large_fails_alone(client: Client) -> None:
    """It says how large it would be; a shorter document beside it, and the same one asked for less, are answered."""
    long, short = Document("long", features=features(5000)), Document("short", features=features(50))
    results = {each.id: each for each in client.encode([long, short], model="motion", every_step=True)}
    refused = results["long"].error
    assert isinstance(refused, InvalidInputError)
    assert refused.reason == "OUTPUTS_TOO_LARGE"
    assert refused.metadata["max_output_bytes"] == str(LIMIT_BYTES)
    assert len(results["short"].steps) == 50
    assert len(np.asarray(by_id(client.encode([long], model="motion"))["long"].hidden)) == 16


def test_too_many_activations_fail_alone(client: Client) -> None:
    """By the same limit."""
    documents = [("long", "the star " * 400), ("short", "the star")]
    results = {each.id: each for each in client.classify(documents, model="topics", activations=True)}
    assert results["long"].error is not None
    assert results["long"].error.reason == "OUTPUTS_TOO_LARGE"
    assert len(results["short"].activations) == 2


def test_a_cut_document_tells_of_the_steps_that_were_read(server: DocumentServer) -> None:
    """Its result is marked, and has as many steps as the limit."""
    with Client(server.target) as client:
        text = "the star " * 10_001
        (result,) = client.tag([("x", text)], model="tagger", truncate=True)
        assert result.error is not None  # 20,000 tags are more than this server's limit on results
        (result,) = client.classify([("x", text)], model="tagger", truncate=True)
        assert (result.truncated, result.step_count) == (True, 20_000)


def test_every_form_at_once_from_many_streams(server: DocumentServer) -> None:
    """Documents that want different things, side by side: each gets what it asked for, the same as alone."""

    async def ask() -> None:
        async with aio.Client(server.target) as client:
            names = [(f"{number}", list(TEXTS.values())[number % 4]) for number in range(40)]

            async def collected(results: Any) -> dict[str, DocumentResult]:
                return {result.id: result async for result in results}

            tags, labels, vectors, alone = await asyncio.gather(
                collected(client.tag(names, model="tagger")),
                collected(client.classify(names, model="tagger")),
                collected(client.encode(names, model="tagger", every_step=True)),
                collected(client.tag(names[:4], model="tagger")),
            )
            for name, text in names:
                count = len(text.split())
                assert [len(tags[name].steps), len(vectors[name].steps)] == [count, count]
                assert tags[name].steps == alone[str(int(name) % 4)].steps
                assert labels[name].steps == ()
                assert len(labels[name].scores) == 3

    asyncio.run(ask())
