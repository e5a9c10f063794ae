"""Transduce over the wire, by a real server: what comes is what plain torch and a search by the book find."""

import itertools
import math
import threading

import grpc
import numpy as np
import pytest
from gatehouse import Client, errors
from gatehouse.documents import Document
from gatehouse.v1 import offline_pb2, offline_pb2_grpc

from tests.service.test_leaks import read_page, wait_until
from tests.tiny import CLASSIFIER_WORDS, WRITTEN
from tests.transducers import by_the_book, torch_transducer

START, END, UNKNOWN = (WRITTEN.index(token) for token in ("<s>", "</s>", "<unk>"))


@pytest.fixture
def client(served):
    """A client of the server."""
    with Client(served.target) as client:
        yield client


def documents(count):
    """Texts of one to twelve words."""
    drawn = np.random.default_rng(0)
    words = CLASSIFIER_WORDS[1:]
    return [(str(number), " ".join(drawn.choice(words, size=1 + number % 12))) for number in range(count)]


@pytest.mark.parametrize(
    "options",
    [
        {"max_output_steps": 12},
        {"max_output_steps": 12, "beam_size": 5, "alternatives": 3, "length_penalty": 0.7},
    ],
    ids=["greedy", "beam"],
)
def test_outputs_are_those_of_plain_torch(served, client, options):
    """Texts, tokens, log-probabilities and scores, greedily and with a beam."""
    oracle = torch_transducer(served.models / "short" / "1")
    texts = documents(40)
    results = list(client.transduce(texts, model="short", in_order=True, **options))
    ended = 0
    for (_, text), result in zip(texts, results, strict=True):
        ids = np.array([CLASSIFIER_WORDS.index(word) for word in text.split()])
        expected = by_the_book(oracle.reading(ids), end_id=END, banned=(START, UNKNOWN), **options)
        assert [each.token_ids for each in result.hypotheses] == [tokens for tokens, *_ in expected]
        for hypothesis, (tokens, total, score, came_to_end) in zip(result.hypotheses, expected, strict=True):
            assert hypothesis.text == "".join(WRITTEN[token] for token in tokens)
            assert hypothesis.log_probability == pytest.approx(total, abs=2e-5)
            assert hypothesis.score == pytest.approx(score, abs=2e-5)
            assert hypothesis.ended == came_to_end
            ended += came_to_end
        assert result.step_count == len(ids)
    assert ended, "no output ended, so the end was not tested"


def test_an_answer_does_not_depend_on_the_company(client):
    """To the last bit: alone, among two hundred others, and among streams that ask for something else."""
    texts = documents(200)
    options = {
        "model": "short",
        "beam_size": 3,
        "alternatives": 3,
        "length_penalty": 0.5,
        "max_output_steps": 9,
    }
    alone = [next(client.transduce([each], **options)).hypotheses for each in texts[:20]]
    crowd = threading.Thread(
        target=lambda: list(client.transduce(documents(300), model="short", beam_size=7, max_output_steps=30))
    )
    crowd.start()
    together = {each.id: each.hypotheses for each in client.transduce(texts, **options)}
    crowd.join()
    assert [together[name] for name, _ in texts[:20]] == alone


def test_transduced_documents_are_counted_as_documents(served, client):
    """By model, in the metrics of offline batches, and as operations."""
    before = read_page(served.http)
    texts = documents(30)
    list(client.transduce(texts, model="short", max_output_steps=4))
    after = read_page(served.http)
    risen = {
        name: after[name] - before.get(name, 0.0)
        for name in (
            'gatehouse_offline_documents_total{"short","1"}',
            'gatehouse_offline_steps_total{"short","1"}',
        )
    }
    assert list(risen.values()) == [30, sum(len(text.split()) for _, text in texts)]


def test_a_caller_who_leaves_ends_what_was_searched_for(served, client):
    """Long searches are given up with their call, in the middle too; others are answered all the same."""
    stub = offline_pb2_grpc.OfflineServiceStub(served_channel := grpc.insecure_channel(served.target))
    options = offline_pb2.TransduceOptions(beam_size=32, alternatives=32, max_output_steps=512)
    requests = (  # without end, so that there always is something under way
        offline_pb2.TransduceRequest(
            model="short",
            documents=[
                offline_pb2.Document(document_id=f"{number} {name}", text=text)
                for name, text in documents(100)
            ],
            options=options,
        )
        for number in itertools.count()
    )
    dropped = 'gatehouse_dropped_total{"cancelled"}'
    before = read_page(served.http).get(dropped, 0.0)
    with pytest.raises(grpc.RpcError) as caught:
        list(stub.Transduce(requests, timeout=0.2))
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    served_channel.close()
    wait_until(lambda: read_page(served.http).get(dropped, 0.0) > before, True)
    assert next(client.transduce([("1", "star")], model="short", max_output_steps=5)).error is None


def test_bad_calls_are_told_in_one_line(client):
    """Models of other kinds both ways, and options out of range."""
    for call, told in (
        (
            lambda: client.transduce([("1", "star")], model="topics"),
            "expected a transducer, and topics@1 is a classifier",
        ),
        (lambda: client.classify([("1", "star")], model="short"), "short@1 is a transducer"),
        (lambda: client.transduce([("1", "star")], model="short", beam_size=0), "expected 1 to 32, got 0"),
        (
            lambda: client.transduce([("1", "star")], model="short", beam_size=10**9),
            "expected 1 to 32, got 1000000000",
        ),
        (lambda: client.transduce([("1", "star")], model="short", alternatives=2), "expected 1 to 1"),
        (
            lambda: client.transduce([("1", "star")], model="short", max_output_steps=10**6),
            "expected 1 to 512",
        ),
        (
            lambda: client.transduce([("1", "star")], model="short", length_penalty=math.nan),
            "expected 0 to 100",
        ),
    ):
        with pytest.raises(errors.InvalidInputError) as caught:
            list(call())
        assert told in caught.value.message
        assert "\n" not in caught.value.message


def test_bad_documents_fail_alone(client):
    """Too long, empty, of another kind, with ids that the model lacks: each by itself."""
    mixed = [
        Document("good", "star galaxy"),
        Document("long", "star " * 1001),
        Document("empty", ""),
        Document("features", features=[[1.0]]),
        Document("range", tokens=[1, 99]),
    ]
    results = {each.id: each for each in client.transduce(mixed, model="short", max_output_steps=5)}
    assert results["good"].error is None
    reasons = {name: each.error.reason for name, each in results.items() if each.error is not None}
    assert reasons == {
        "long": "DOCUMENT_TOO_LONG",
        "empty": "EMPTY_INPUT",
        "features": "WRONG_INPUT_KIND",
        "range": "TOKEN_OUT_OF_RANGE",
    }
    (cut,) = client.transduce([("long", "star " * 1001)], model="short", truncate=True, max_output_steps=5)
    assert (cut.truncated, cut.step_count) == (True, 1000)


def test_no_session_runs_on_a_transducer(client):
    """The refusal names the call that it takes."""
    with pytest.raises(errors.InvalidInputError, match=r"whole documents \(Transduce\)"):
        client.session("short")


def test_the_model_is_described_with_both_parts(client):
    """Layers of encoder and decoder, and all parameters."""
    model = client.get_model("short")
    assert (model.task, model.online) == ("transducer", False)
    assert [(layer.part, layer.direction) for layer in model.recurrent_layers] == [
        ("encoder", "both"),
        ("decoder", "forward"),
    ]
    names = {row.name for row in model.parameters}
    assert {"encoder.embedding.weight", "decoder.initial.weight", "decoder.head.bias"} <= names
    assert model.parameter_count == sum(row.count for row in model.parameters)
    assert model.memory_bytes > 4 * model.parameter_count
