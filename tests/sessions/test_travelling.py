"""Sessions that are forked, exported and imported: the same tape and state, independent from then on."""

import numpy as np
import pytest
from gatehouse_server.errors import (
    InvalidInput,
    ModelMismatch,
    ModelNotFound,
    PositionNotRetained,
    SessionExists,
    SessionNotFound,
)
from gatehouse_server.models.registry import Registry
from gatehouse_server.network.arithmetic import Arithmetic
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.operations import (
    DeleteSession,
    EvictSession,
    ExportSession,
    ForkSession,
    ImportSession,
)

from tests.sessions.desk import Desk, make_write
from tests.sessions.keeping import vector
from tests.tiny import write_tiny_keyboard

TAPE = [13 + (7 * step) % 40 for step in range(1300)]


def straight(desk, tape, model="keyboard"):
    """The output after a tape, in a session of its own."""
    session = desk.create(model).session_id
    desk.write(session, tape)
    return vector(desk, session)


@pytest.mark.parametrize("at", [None, 0, 1, 1024, 1299])
def test_a_fork_has_the_tape_and_the_state_and_goes_its_own_way(desk, at):
    """At the end or at any earlier position; writes to one of the two do not show in the other."""
    source = desk.create().session_id
    desk.write(source, TAPE)
    fork = desk.one(ForkSession(session_id=source, at=at))
    position = 1300 if at is None else at
    assert fork.state.position == position
    desk.write(source, [20, 21], at=1)
    desk.write(fork.session_id, [30])
    assert vector(desk, fork.session_id) == straight(desk, [*TAPE[:position], 30])
    assert vector(desk, source) == straight(desk, [TAPE[0], 20, 21])
    if position > 3:
        desk.write(fork.session_id, [31], at=3)
        assert vector(desk, fork.session_id) == straight(desk, [*TAPE[:3], 31])


def test_a_fork_keeps_position_and_revision_under_a_life_of_its_own(desk):
    """So that a client can go on counting."""
    view = desk.create()
    desk.write(view.session_id, [14, 15])
    desk.write(view.session_id, [16])
    fork = desk.one(ForkSession(session_id=view.session_id))
    assert (fork.state.position, fork.state.revision) == (3, 2)
    assert fork.state.incarnation != view.state.incarnation


def test_a_fork_takes_its_turn(desk):
    """What was sent to the source before is in the fork, what was sent after is not."""
    source = desk.create().session_id
    _, fork, _ = desk.ask(
        make_write(source, [14] * 40), ForkSession(session_id=source), make_write(source, [15])
    )
    assert fork.state.position == 40


def test_a_repeated_fork_is_the_same_fork(desk):
    """Under one request there is one fork; without an identifier given, and with one."""
    source = desk.create().session_id
    first = desk.one(ForkSession(session_id=source, request_id="f"))
    desk.write(source, [14])
    assert desk.one(ForkSession(session_id=source, request_id="f")).session_id == first.session_id
    desk.one(ForkSession(session_id=source, new_session_id="mine", request_id="g"))
    assert desk.one(ForkSession(session_id=source, new_session_id="mine", request_id="g")).state.position == 1
    with pytest.raises(SessionExists):
        desk.one(ForkSession(session_id=source, new_session_id="mine", request_id="h"))


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"session_id": "nobody"}, SessionNotFound),
        ({"at": 4}, InvalidInput),
        ({"at": -1}, InvalidInput),
        ({"new_session_id": "source"}, SessionExists),
        ({"new_session_id": "with space"}, InvalidInput),
        ({"new_session_id": "ü"}, InvalidInput),
        ({"new_session_id": "x" * 129}, InvalidInput),
        ({"new_session_id": "a\nb"}, InvalidInput),
    ],
)
def test_a_bad_fork_makes_nothing(desk, fields, error):
    """It is refused, and the source is as it was."""
    desk.create(session_id="source")
    desk.write("source", [14, 15, 16])
    with pytest.raises(error):
        desk.one(ForkSession(**{"session_id": "source", **fields}))
    desk.tick()
    assert desk.counts.last_gauges.live_sessions + desk.counts.last_gauges.packed_sessions == 1


def test_features_can_be_forked_as_far_back_as_they_are_kept(desk):
    """Within the last positions and at the beginning, and not in between."""
    values = np.random.default_rng(5).normal(size=(200, 3)).astype(np.float32)
    source = desk.create("motion").session_id
    desk.write(source, values)
    for at in (150, 0):
        fork = desk.one(ForkSession(session_id=source, at=at)).session_id
        desk.write(fork, values[at : at + 3])
        assert vector(desk, fork) == straight(desk, values[: at + 3], "motion")
    with pytest.raises(PositionNotRetained):
        desk.one(ForkSession(session_id=source, at=20))


def test_an_exported_session_goes_on_elsewhere(registry):
    """With its state, its tape and its revision; on a server that knows the key, whatever became of the source."""
    here = Desk(registry, export_key=b"ours")
    there = Desk(registry, export_key=b"ours")
    source = here.create().session_id
    here.write(source, TAPE)
    exported = here.one(ExportSession(session_id=source))
    assert exported.view.state.position == 1300
    here.write(source, [20])
    arrived = there.one(ImportSession(blob=exported.blob))
    assert (arrived.state.position, arrived.state.revision) == (1300, 1)
    there.write(arrived.session_id, [30])
    assert vector(there, arrived.session_id) == straight(there, [*TAPE, 30])
    there.write(arrived.session_id, [31], at=700)
    assert vector(there, arrived.session_id) == straight(there, [*TAPE[:700], 31])


def test_an_import_is_repeated_without_harm_and_replaces_nothing(desk):
    """Under one request there is one session; an identifier that is taken stays whose it is."""
    desk.create(session_id="mine")
    blob = desk.one(ExportSession(session_id="mine")).blob
    first = desk.one(ImportSession(blob=blob, request_id="i"))
    assert desk.one(ImportSession(blob=blob, request_id="i")).session_id == first.session_id
    desk.write("mine", [14])
    with pytest.raises(SessionExists):
        desk.one(ImportSession(blob=blob, session_id="mine"))
    assert desk.get("mine").state.position == 1


def test_a_blob_that_was_touched_is_refused(desk):
    """Cut, lengthened, garbage, of another format, or with any bit turned: nothing is made of it."""
    session = desk.create().session_id
    desk.write(session, [14, 15, 16])
    blob = desk.one(ExportSession(session_id=session)).blob

    def reason(changed):
        with pytest.raises(InvalidInput) as caught:
            desk.one(ImportSession(blob=changed))
        return caught.value.reason

    for position in [*range(19, 60), *range(60, len(blob), 97), len(blob) - 1]:
        bit = 1 << position % 8
        assert (
            reason(blob[:position] + bytes([blob[position] ^ bit]) + blob[position + 1 :]) == "EXPORT_ALTERED"
        )
    assert reason(blob[:-1]) == "EXPORT_ALTERED"
    assert reason(blob + b"\0") == "EXPORT_ALTERED"
    assert {reason(blob[:30]), reason(b"\0" * 500), reason(b"x"), reason(b"X" + blob[1:])} == {
        "EXPORT_MALFORMED"
    }
    assert reason(blob[:18] + bytes([2]) + blob[19:]) == "EXPORT_TOO_NEW"


def test_a_blob_sealed_with_another_key_is_refused(registry):
    """Servers that do not share a key do not take each other's sessions."""
    here, there = Desk(registry, export_key=b"ours"), Desk(registry, export_key=b"theirs")
    blob = here.one(ExportSession(session_id=here.create().session_id)).blob
    with pytest.raises(InvalidInput) as caught:
        there.one(ImportSession(blob=blob))
    assert caught.value.reason == "EXPORT_ALTERED"


def test_a_blob_of_another_model_is_refused(registry, tmp_path):
    """Of one that is not served, and of one of the same name and another content."""
    write_tiny_keyboard(tmp_path / "keyboard" / "1", seed=7)
    write_tiny_keyboard(tmp_path / "other" / "1")
    elsewhere = Desk(Registry.load([tmp_path], embedded=None), export_key=b"ours")
    here = Desk(registry, export_key=b"ours")
    retrained = elsewhere.one(ExportSession(session_id=elsewhere.create().session_id)).blob
    unknown = elsewhere.one(ExportSession(session_id=elsewhere.create("other").session_id)).blob
    with pytest.raises(ModelMismatch):
        here.one(ImportSession(blob=retrained))
    with pytest.raises(ModelNotFound):
        here.one(ImportSession(blob=unknown))


def test_a_state_of_another_precision_is_refused(models):
    """Weights in int8 answer a little differently: a session goes on only where its answers stay the same."""
    exact = Desk(Registry.load([models], embedded=None), export_key=b"ours")
    rounded = Desk(
        Registry.load([models], embedded=None, arithmetic=Arithmetic(precision="int8")), export_key=b"ours"
    )
    blob = exact.one(ExportSession(session_id=exact.create().session_id)).blob
    with pytest.raises(ModelMismatch):
        rounded.one(ImportSession(blob=blob))
    blob = rounded.one(ExportSession(session_id=rounded.create().session_id)).blob
    assert rounded.one(ImportSession(blob=blob)).state.position == 0


def test_a_blob_tells_nothing_of_who_exported_it(desk):
    """Neither the identifier of the session nor that of the request that made it."""
    session = desk.create(session_id="somebody-known").session_id
    assert b"somebody" not in desk.one(ExportSession(session_id=session)).blob


def test_an_evicted_session_is_told_apart(desk):
    """From a deleted one, and from one that never was."""
    evicted, deleted = desk.create().session_id, desk.create().session_id
    desk.one(EvictSession(session_id=evicted))
    desk.one(DeleteSession(session_id=deleted))
    for session, expected in (
        (evicted, "SESSION_EVICTED"),
        (deleted, "SESSION_DELETED"),
        ("x", "SESSION_UNKNOWN"),
    ):
        for operation in (make_write(session, [14]), ExportSession(session_id=session)):
            with pytest.raises(SessionNotFound) as caught:
                desk.one(operation)
            assert caught.value.reason == expected


def test_forks_that_wait_for_a_slot_get_one(registry):
    """With two slots, twenty forks in a row are all made and all used."""
    desk = Desk(registry, limits=SessionLimits(max_live_sessions=2))
    source = desk.create().session_id
    desk.write(source, [14, 15])
    forks = [desk.one(ForkSession(session_id=source)).session_id for _ in range(20)]
    results = desk.ask(*(make_write(fork, [20 + number], vector=True) for number, fork in enumerate(forks)))
    for number, result in enumerate(results):
        assert result.steps[0].vector.tolist() == straight(desk, [14, 15, 20 + number])
