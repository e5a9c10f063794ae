"""Bad documents, over the wire: each fails alone with code, reason and field, and the others go on."""

import pytest
from gatehouse.v1 import offline_pb2, offline_pb2_grpc, online_pb2

from tests.service.failures import failed, failure_of

Document = offline_pb2.Document


@pytest.fixture(scope="module")
def stub(channel):
    """The service."""
    return offline_pb2_grpc.OfflineServiceStub(channel)


def stream(stub, *messages, **options):
    """Sends messages of documents on one stream; the results by identifier, in lists."""
    requests = [
        offline_pb2.ClassifyStreamRequest(
            model="topics", documents=documents, options=offline_pb2.ClassifyOptions(**options)
        )
        for documents in messages
    ]
    results = {}
    for answer in stub.ClassifyStream(iter(requests)):
        for result in answer.results:
            results.setdefault(result.document_id, []).append(result)
    return results


def only(results):
    """The single result of a document."""
    (result,) = results
    return result


GOOD = Document(document_id="good", text="a star of the galaxy")


@pytest.mark.parametrize(
    ("document", "reason", "field"),
    [
        (Document(document_id="bad"), "EMPTY_INPUT", "content"),
        (Document(document_id="bad", text=""), "EMPTY_INPUT", "text"),
        (Document(document_id="bad", text=" \n"), "EMPTY_INPUT", "text"),
        (Document(document_id="bad", text="star " * 1001), "DOCUMENT_TOO_LONG", "text"),
        (
            Document(document_id="bad", tokens=online_pb2.TokenSequence(ids=[99])),
            "TOKEN_OUT_OF_RANGE",
            "tokens.ids[0]",
        ),
        (
            Document(document_id="bad", tokens=online_pb2.TokenSequence(ids=[-1])),
            "TOKEN_OUT_OF_RANGE",
            "tokens.ids[0]",
        ),
        (
            Document(document_id="bad", features=online_pb2.FeatureSequence(width=3, values=b"\0" * 12)),
            "WRONG_INPUT_KIND",
            "features",
        ),
    ],
    ids=["no content", "empty text", "blank text", "too long", "id beyond V", "negative id", "features"],
)
def test_a_bad_document_fails_alone(stub, document, reason, field):
    """The bad document's result says what is wrong; the good one beside it has its scores."""
    results = stream(stub, [document, GOOD])
    failure = failure_of(only(results["bad"]).status)
    assert (failure.code, failure.reason) == ("INVALID_ARGUMENT", reason)
    assert [path.rpartition("].")[2] if "." in path else path for path in failure.fields] == [field]
    assert len(only(results["good"]).scores) == 3


def test_a_document_over_the_limit_is_cut_where_that_is_asked(stub):
    """With `truncate` a long document is read up to the limit, and its result says so."""
    result = only(stream(stub, [Document(document_id="long", text="star " * 1500)], truncate=True)["long"])
    assert (result.truncated, result.step_count) == (True, 1000)


def test_ten_megabytes_of_text_are_refused_by_name(stub):
    """A document beyond all limits is refused, not crashed on."""
    results = stream(stub, [Document(document_id="bad", text="a" * 10_000_000)], [GOOD])
    failure = failure_of(only(results["bad"]).status)
    assert (failure.code, failure.reason) == ("INVALID_ARGUMENT", "DOCUMENT_TOO_LONG")
    assert only(results["good"]).scores


def test_a_document_in_parts_is_the_same_as_in_one(stub):
    """Parts are joined before they are encoded, also in the middle of a word."""
    whole = only(stream(stub, [GOOD])["good"])
    parts = only(
        stream(
            stub,
            [Document(document_id="parts", text="a st", part=0, more=True)],
            [Document(document_id="parts", text="ar of the ", part=1, more=True)],
            [Document(document_id="parts", text="galaxy", part=2)],
        )["parts"]
    )
    assert parts.scores == whole.scores


def test_a_part_of_another_document_fails_alone(stub):
    """Between the parts of a document no other stands: that other one fails, the open one goes on."""
    results = stream(
        stub,
        [
            Document(document_id="open", text="a star ", part=0, more=True),
            Document(document_id="other", text="a cell ", part=0, more=True),
            Document(document_id="open", text="of the galaxy", part=1),
            Document(document_id="other", text="and gene", part=1),
        ],
    )
    failure = failure_of(results["other"][0].status)
    assert (failure.code, failure.reason) == ("INVALID_ARGUMENT", "PARTS_INTERLEAVED")
    assert len(results["other"]) == 1
    assert only(results["open"]).scores


@pytest.mark.parametrize("part", [0, 2, -1], ids=["repeated", "skipped", "negative"])
def test_parts_have_to_come_in_order(stub, part):
    """A part out of order fails its document."""
    results = stream(
        stub,
        [
            Document(document_id="bad", text="a star ", part=0, more=True),
            Document(document_id="bad", text="galaxy", part=part),
            GOOD,
        ],
    )
    failure = failure_of(results["bad"][0].status)
    assert (failure.code, failure.reason) == ("INVALID_ARGUMENT", "PART_OUT_OF_ORDER")
    assert only(results["good"]).scores


def test_a_stream_that_ends_within_a_document_says_so(stub):
    """A document whose last part never came is answered as incomplete."""
    results = stream(stub, [Document(document_id="bad", text="a star ", part=0, more=True)])
    assert failure_of(only(results["bad"]).status).code == "INVALID_ARGUMENT"


def test_the_same_id_twice_in_flight_fails_the_second(stub):
    """Identifiers are unique among the documents in flight; the first of two is answered as it is."""
    results = stream(stub, [GOOD, GOOD])["good"]
    assert sorted(bool(result.scores) for result in results) == [False, True]
    failure = next(failure_of(result.status) for result in results if not result.scores)
    assert (failure.code, failure.reason) == ("INVALID_ARGUMENT", "DUPLICATE_DOCUMENT_ID")


def test_an_identifier_may_come_again_when_its_document_is_answered(stub):
    """Nobody remembers the identifiers of documents that are done."""
    assert only(stream(stub, [GOOD])["good"]).scores == only(stream(stub, [GOOD])["good"]).scores


@pytest.mark.parametrize(
    ("model", "code", "reason"),
    [
        ("nothing", "NOT_FOUND", "MODEL_NOT_FOUND"),
        ("", "INVALID_ARGUMENT", "INVALID_INPUT"),
        ("broken", "FAILED_PRECONDITION", "MODEL_FAILED"),
    ],
)
def test_reading_needs_a_model(stub, model, code, reason):
    """A call for a model that is missing or broken fails as a whole."""
    request = offline_pb2.ClassifyRequest(model=model, documents=[GOOD])
    failure = failed(lambda: stub.Classify(request))
    assert (failure.code, failure.reason) == (code, reason)


@pytest.mark.parametrize("k", [0, -1, 4])
def test_k_has_to_be_a_number_of_labels(stub, k):
    """As many labels as there are, and at least one."""
    request = offline_pb2.ClassifyRequest(
        model="topics", documents=[GOOD], options=offline_pb2.ClassifyOptions(k=k)
    )
    failure = failed(lambda: stub.Classify(request))
    assert (failure.code, failure.reason, failure.fields) == (
        "INVALID_ARGUMENT",
        "K_OUT_OF_RANGE",
        ("options.k",),
    )


def test_no_documents_at_all_are_refused(stub):
    """A call without documents is a mistake that is named."""
    failure = failed(lambda: stub.Classify(offline_pb2.ClassifyRequest(model="topics")))
    assert (failure.code, failure.fields) == ("INVALID_ARGUMENT", ("documents",))


def test_more_documents_than_one_call_may_carry_are_refused(stub):
    """The answer to a unary call has to fit into a message; the error names the streaming call."""
    documents = [Document(document_id=str(number), text="star") for number in range(1001)]
    failure = failed(lambda: stub.Classify(offline_pb2.ClassifyRequest(model="topics", documents=documents)))
    assert (failure.code, failure.reason, failure.fields) == (
        "INVALID_ARGUMENT",
        "INPUT_TOO_LONG",
        ("documents",),
    )
    assert "ClassifyStream" in failure.message
