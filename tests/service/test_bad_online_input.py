"""Bad input to OnlineService, over the wire: each is refused with code, reason and field, and harms nothing."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from gatehouse.v1 import online_pb2, online_pb2_grpc

from tests.service.failures import failed, failure_of

Write = online_pb2.SessionWrite
Tokens = online_pb2.TokenSequence
Features = online_pb2.FeatureSequence
Outputs = online_pb2.OutputOptions

NAN = np.full((1, 3), np.nan, dtype="<f4").tobytes()
HUGE = 2**31 - 1


@pytest.fixture(scope="module")
def stub(channel):
    """The service."""
    return online_pb2_grpc.OnlineServiceStub(channel)


@pytest.fixture
def create(stub) -> Iterator[Callable[[str], online_pb2.CreateSessionResponse]]:
    """Makes sessions, and ends them after the test."""
    made = []

    def make(model):
        session = stub.CreateSession(online_pb2.CreateSessionRequest(model=model)).session
        made.append(session)
        return session

    yield make
    for session in made:
        stub.DeleteSession(online_pb2.DeleteSessionRequest(session_id=session.session_id))


def write(stub, session, **fields):
    """A unary write."""
    return stub.Write(online_pb2.WriteRequest(write=Write(session_id=session.session_id, **fields)))


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({}, "EMPTY_INPUT", "inputs"),
        ({"tokens": Tokens()}, "EMPTY_INPUT", "tokens.ids"),
        ({"text": ""}, "EMPTY_INPUT", "text"),
        ({"text": " \n\t "}, "EMPTY_INPUT", "text"),
        ({"text": "a" * 10_000_000}, "INPUT_TOO_LONG", "text"),
        ({"text": "go " * 5000}, "INPUT_TOO_LONG", "text"),
        ({"tokens": Tokens(ids=[14] * 5000)}, "INPUT_TOO_LONG", "tokens.ids"),
        ({"tokens": Tokens(ids=[66])}, "TOKEN_OUT_OF_RANGE", "tokens.ids[0]"),
        ({"tokens": Tokens(ids=[3, -1])}, "TOKEN_OUT_OF_RANGE", "tokens.ids[1]"),
        ({"tokens": Tokens(ids=[HUGE])}, "TOKEN_OUT_OF_RANGE", "tokens.ids[0]"),
        ({"tokens": Tokens(ids=[3]), "outputs": Outputs(k=0)}, "K_OUT_OF_RANGE", "outputs.k"),
        ({"tokens": Tokens(ids=[3]), "outputs": Outputs(k=-5)}, "K_OUT_OF_RANGE", "outputs.k"),
        ({"tokens": Tokens(ids=[3]), "outputs": Outputs(k=67)}, "K_OUT_OF_RANGE", "outputs.k"),
        ({"tokens": Tokens(ids=[3]), "outputs": Outputs(k=HUGE)}, "K_OUT_OF_RANGE", "outputs.k"),
        ({"tokens": Tokens(ids=[3]), "at": -1}, "POSITION_OUT_OF_RANGE", "at"),
        ({"tokens": Tokens(ids=[3]), "at": 2**62}, "POSITION_OUT_OF_RANGE", "at"),
        ({"features": Features(width=3, values=b"\0" * 12)}, "WRONG_INPUT_KIND", "inputs"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_write_is_an_invalid_argument_that_names_its_field(stub, create, fields, reason, field):
    """Code, reason and field tell what is wrong; the session stays as it was."""
    session = create("keyboard")
    failure = failed(lambda: write(stub, session, **fields))
    assert (failure.code, failure.reason, failure.fields) == ("INVALID_ARGUMENT", reason, (field,))
    found = stub.GetSession(online_pb2.GetSessionRequest(session_id=session.session_id)).session
    assert (found.state.position, found.state.revision) == (0, 0)


@pytest.mark.parametrize(
    ("features", "reason", "field"),
    [
        (Features(width=3, values=NAN), "FEATURES_NOT_FINITE", "features[0][0]"),
        (Features(width=2, values=b"\0" * 8), "WRONG_WIDTH", "features"),
        (Features(width=3, values=b"\0" * 13), "WRONG_WIDTH", "features.values"),
        (Features(width=0, values=b"\0" * 12), "WRONG_WIDTH", "features.width"),
        (Features(width=3), "EMPTY_INPUT", "features.values"),
    ],
    ids=["not a number", "two of three values", "broken bytes", "no width", "no values"],
)
def test_bad_features_are_an_invalid_argument(stub, create, features, reason, field):
    """Feature vectors have to be finite, whole and of the model's width."""
    session = create("motion")
    failure = failed(lambda: write(stub, session, features=features))
    assert (failure.code, failure.reason, failure.fields) == ("INVALID_ARGUMENT", reason, (field,))


@pytest.mark.parametrize(
    ("fields", "missing"),
    [
        ({"revision": 1}, ("incarnation", "at")),
        ({"revision": 1, "incarnation": 5}, ("at",)),
        ({"revision": 0, "incarnation": 5, "at": 0}, ("revision",)),
        ({"revision": -3, "incarnation": 5, "at": 0}, ("revision",)),
    ],
)
def test_a_revision_needs_its_incarnation_and_position(stub, create, fields, missing):
    """A write under a revision says what it was meant for; revisions begin at 1."""
    session = create("keyboard")
    failure = failed(lambda: write(stub, session, tokens=Tokens(ids=[3]), **fields))
    assert (failure.code, failure.fields) == ("INVALID_ARGUMENT", missing)


def test_revisions_out_of_order_have_codes_of_their_own(stub, create):
    """Ahead: FAILED_PRECONDITION with where the server stands. Used otherwise: ABORTED."""
    session = create("keyboard")
    life = {"incarnation": session.state.incarnation}
    write(stub, session, tokens=Tokens(ids=[3]), revision=1, at=0, **life)
    ahead = failed(lambda: write(stub, session, tokens=Tokens(ids=[3]), revision=7, at=1, **life))
    assert (ahead.code, ahead.reason) == ("FAILED_PRECONDITION", "STATE_BEHIND")
    other = failed(lambda: write(stub, session, tokens=Tokens(ids=[4]), revision=1, at=0, **life))
    assert (other.code, other.reason) == ("ABORTED", "REVISION_CONFLICT")
    foreign = failed(lambda: write(stub, session, tokens=Tokens(ids=[3]), revision=2, at=1, incarnation=1))
    assert (foreign.code, foreign.reason) == ("FAILED_PRECONDITION", "STATE_BEHIND")


@pytest.mark.parametrize(
    ("model", "code", "reason"),
    [
        ("nothing", "NOT_FOUND", "MODEL_NOT_FOUND"),
        ("keyboard@99", "NOT_FOUND", "MODEL_NOT_FOUND"),
        ("topics", "INVALID_ARGUMENT", "WRONG_MODEL_KIND"),
        ("broken", "FAILED_PRECONDITION", "MODEL_FAILED"),
        ("", "INVALID_ARGUMENT", "INVALID_INPUT"),
    ],
)
def test_a_session_needs_a_model_that_runs_online(stub, model, code, reason):
    """Unknown, bidirectional and broken models are told apart; the message says why."""
    failure = failed(lambda: stub.CreateSession(online_pb2.CreateSessionRequest(model=model)))
    assert (failure.code, failure.reason) == (code, reason)
    if model == "topics":
        assert "bidirectional" in failure.message


@pytest.mark.parametrize("session_id", ["with space", "x" * 129, "tab\t", "naïve", "\u202eevil"])
def test_odd_session_ids_are_refused(stub, session_id):
    """Session ids are printable ASCII of bounded length."""
    failure = failed(
        lambda: stub.CreateSession(online_pb2.CreateSessionRequest(model="keyboard", session_id=session_id))
    )
    assert (failure.code, failure.fields) == ("INVALID_ARGUMENT", ("session_id",))


def test_a_taken_session_id_is_refused(stub, create):
    """Nobody gets a session of somebody else by choosing its name."""
    session = create("keyboard")
    failure = failed(
        lambda: stub.CreateSession(
            online_pb2.CreateSessionRequest(model="keyboard", session_id=session.session_id)
        )
    )
    assert (failure.code, failure.reason) == ("ALREADY_EXISTS", "SESSION_EXISTS")


def test_unknown_and_deleted_sessions_are_told_apart(stub):
    """The reason says what became of a session."""
    unknown = failed(lambda: stub.GetSession(online_pb2.GetSessionRequest(session_id="never")))
    assert (unknown.code, unknown.reason) == ("NOT_FOUND", "SESSION_UNKNOWN")
    stub.CreateSession(online_pb2.CreateSessionRequest(model="keyboard", session_id="short-lived"))
    stub.DeleteSession(online_pb2.DeleteSessionRequest(session_id="short-lived"))
    gone = failed(lambda: stub.DeleteSession(online_pb2.DeleteSessionRequest(session_id="short-lived")))
    assert (gone.code, gone.reason) == ("NOT_FOUND", "SESSION_DELETED")


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({"text": "I ", "k": 0}, "K_OUT_OF_RANGE", "k"),
        ({"text": "I ", "k": 1000}, "K_OUT_OF_RANGE", "k"),
        ({"text": "a" * 10_000_000}, "INPUT_TOO_LONG", "text"),
        ({"text": "I ", "model": "motion"}, "WRONG_MODEL_KIND", "model"),
        ({"text": "I ", "session_id": "two words"}, "INVALID_INPUT", "session_id"),
        ({"text": "I ", "exclude": ["a"] * 257}, "INPUT_TOO_LONG", "exclude"),
    ],
    ids=["k = 0", "k > V", "ten megabytes", "no language model", "odd session id", "too many words"],
)
def test_a_bad_suggestion_is_an_invalid_argument(stub, fields, reason, field):
    """Suggest names what is wrong with the question."""
    failure = failed(
        lambda: stub.Suggest(online_pb2.SuggestRequest(suggest=online_pb2.TextSuggestion(**fields)))
    )
    assert (failure.code, failure.reason, failure.fields) == ("INVALID_ARGUMENT", reason, (field,))


def test_a_text_that_tokenizes_to_nothing_still_gets_suggestions(stub):
    """For a suggestion, nothing typed is a text like any other."""
    answer = stub.Suggest(online_pb2.SuggestRequest(suggest=online_pb2.TextSuggestion(text="  \n ")))
    assert len(answer.result.suggestions) == 3


def test_a_bad_operation_fails_alone_in_its_stream(stub, create):
    """The results of one message: the bad ones carry a status, the good ones and later messages go on."""
    session = create("keyboard")
    life = {"session_id": session.session_id, "incarnation": session.state.incarnation}
    operations = [
        online_pb2.StreamOperation(tag=1, write=Write(**life, revision=1, at=0, tokens=Tokens(ids=[3]))),
        online_pb2.StreamOperation(tag=2, write=Write(**life, revision=2, at=-1, tokens=Tokens(ids=[3]))),
        online_pb2.StreamOperation(tag=3, write=Write(**life, revision=3, at=2, tokens=Tokens(ids=[3]))),
        online_pb2.StreamOperation(tag=4, write=Write(session_id="never", tokens=Tokens(ids=[3]))),
        online_pb2.StreamOperation(tag=5),
        online_pb2.StreamOperation(tag=6, write=Write(**life, revision=2, at=1, tokens=Tokens(ids=[4]))),
    ]
    answers = stub.Stream(iter([online_pb2.StreamRequest(operations=operations)]))
    results = {result.tag: result for answer in answers for result in answer.results}
    assert results[1].write.state.revision == 1
    assert failure_of(results[2].status).fields == ("operations[1].write.at",)
    assert failure_of(results[3].status).reason == "PRECEDING_WRITE_REFUSED"
    assert failure_of(results[4].status).reason == "SESSION_UNKNOWN"
    assert failure_of(results[5].status).code == "INVALID_ARGUMENT"
    assert results[6].write.state.position == 2


def test_a_deadline_that_has_passed_is_not_computed(stub, create):
    """A write whose time is up is answered so, and is not applied."""
    session = create("keyboard")
    operation = online_pb2.StreamOperation(
        tag=1, write=Write(session_id=session.session_id, tokens=Tokens(ids=[3]), timeout={"nanos": 1})
    )
    (answer,) = stub.Stream(iter([online_pb2.StreamRequest(operations=[operation])]))
    failure = failure_of(answer.results[0].status)
    assert (failure.code, failure.reason) == ("DEADLINE_EXCEEDED", "DEADLINE_EXPIRED")
    found = stub.GetSession(online_pb2.GetSessionRequest(session_id=session.session_id)).session
    assert found.state.position == 0


@pytest.mark.parametrize("timeout", [{"seconds": -1}, {}, {"nanos": -1}])
def test_a_timeout_has_to_be_positive(stub, create, timeout):
    """A timeout of nothing, or less, is refused."""
    session = create("keyboard")
    failure = failed(lambda: write(stub, session, tokens=Tokens(ids=[3]), timeout=timeout))
    assert (failure.code, failure.fields) == ("INVALID_ARGUMENT", ("timeout",))


def test_a_client_that_leaves_in_mid_stream_loses_nothing_that_was_read(stub, create):
    """After a cancelled stream the session goes on where its last applied write left it."""
    session = create("keyboard")
    gate = iter([])

    def requests():
        write = Write(session_id=session.session_id, tokens=Tokens(ids=[3]))
        yield online_pb2.StreamRequest(operations=[online_pb2.StreamOperation(tag=1, write=write)])
        yield from gate

    call = stub.Stream(requests())
    assert next(call).results[0].write.state.position == 1
    call.cancel()
    answer = write(stub, session, tokens=Tokens(ids=[4]))
    assert answer.result.state.position == 2
