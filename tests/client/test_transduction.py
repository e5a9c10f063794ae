"""Transducing a stream of documents: what is asked is sent, and what comes back is theirs, by both clients."""

from __future__ import annotations

from typing import Any

import pytest
from gatehouse import errors
from gatehouse.transductions import Hypothesis

from tests.client.fake_server import FakeServer


def test_each_document_gets_its_outputs(client: Any) -> None:
    """A thousand documents give a thousand results, each with the best output of its own document."""
    documents = [(str(number), f"day {number}") for number in range(1000)]
    results = {result.id: result for result in client.transduce(documents, model="dates")}
    assert len(results) == 1000
    assert all(results[name].text == text[::-1] for name, text in documents)
    assert results["7"].hypotheses == (
        Hypothesis(text="7 yad", token_ids=(0, 7), log_probability=-0.5, score=-0.25, ended=True),
    )
    assert (results["7"].log_probability, results["7"].step_count) == (-0.5, 5)
    assert results["7"].timing is not None


def test_what_is_asked_is_sent(client: Any, server: FakeServer) -> None:
    """The search's width, penalty, bound and answers; by default the likeliest token each time, to the limit."""
    (result,) = client.transduce(
        [("1", "march")],
        model="dates",
        beam_size=4,
        alternatives=2,
        length_penalty=0.5,
        max_output_steps=9,
        truncate=True,
    )
    sent = server.offline.transduce_options
    assert sent is not None
    assert (sent.beam_size, sent.alternatives, sent.length_penalty) == (4, 2, 0.5)
    assert (sent.max_output_steps, sent.truncate) == (9, True)
    assert [each.text for each in result.hypotheses] == ["hcram", "MARCH"]
    assert [each.ended for each in result.hypotheses] == [True, False]
    assert result.truncated
    list(client.transduce([("1", "march")], model="dates"))
    sent = server.offline.transduce_options
    assert sent is not None
    assert (sent.beam_size, sent.alternatives, sent.HasField("max_output_steps")) == (1, 1, False)


def test_a_failed_document_fails_alone(client: Any) -> None:
    """A failure is the result's error, typed; so is a text that cannot be put on the wire."""
    documents = [("1", "may"), ("2", "fail"), ("3", "\ud800"), ("4", "june")]
    first, second, third, fourth = client.transduce(documents, model="dates", in_order=True)
    assert (first.text, first.error, fourth.text) == ("yam", None, "enuj")
    for failed in (second, third):
        assert isinstance(failed.error, errors.InvalidInputError)
        assert (failed.text, failed.log_probability, failed.hypotheses) == (None, None, ())


def test_a_broken_connection_is_made_again(client: Any, server: FakeServer) -> None:
    """What has no result yet is sent again, and everything gets one."""
    server.offline.break_after = 200
    documents = [(str(number), f"day {number}") for number in range(500)]
    results = list(client.transduce(documents, model="dates", in_order=True))
    assert [result.id for result in results] == [name for name, _ in documents]
    assert server.calls["OfflineService.Transduce"] == 2


def test_a_model_of_another_kind_ends_the_call(client: Any) -> None:
    """As the exception that the server's status stands for."""
    with pytest.raises(errors.InvalidInputError) as caught:
        list(client.transduce([("1", "may")], model="topics"))
    assert caught.value.reason == "WRONG_MODEL_KIND"
