"""The verdict on a soak: each thing that must not happen makes it fail, and what must happen is missed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import soak_visits
from benchmarks.chaos_models import MODELS, VOCABULARY, PlainModel
from benchmarks.chaos_user import LONGEST_TAPE, K
from benchmarks.soak_fleet import Reloads
from benchmarks.soak_lives import Life
from benchmarks.soak_scenario import Soak, Soaked, content, write_soak_models
from benchmarks.soak_verdict import FLAWS, RESTARTS, judged

SOAK = Soak(seconds=10, sessions=1, restart_pause_seconds=1, reload_pause_seconds=1)
TAPE = [3, 5, 7]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models of a soak, and the outputs that its one user was told, which are right."""
    folder = tmp_path_factory.mktemp("soak")
    write_soak_models(folder)
    tapes = np.zeros((1, LONGEST_TAPE), dtype=np.int64)
    tapes[0, : len(TAPE)] = TAPE
    lengths = np.array([len(TAPE)])
    vectors = PlainModel(folder / "models" / MODELS[0] / "1").log_probabilities(tapes, lengths)
    best = np.argsort(-vectors, axis=1)[:, :K]
    np.savez(
        folder / "replies.npz",
        users=np.zeros(1, dtype=np.int64),
        models=np.zeros(1, dtype=np.int64),
        tapes=tapes,
        lengths=lengths,
        vectors=vectors,
        best_ids=best,
        best_values=np.take_along_axis(vectors, best, axis=1),
    )
    return folder


@pytest.fixture
def soaked(folder: Path) -> Soaked:
    """A soak in which all went well: visitors were answered by either content of the changing model."""
    plains = [PlainModel(content(folder, number)) for number in (0, 1)]
    documents = []
    for number, plain in enumerate(plains):
        tokens = soak_visits.document(number)
        predicted = plain.every_prediction(np.array([tokens]))[0]
        documents.append([number, float(sum(predicted[at, token] for at, token in enumerate(tokens)))])
    session = np.array([soak_visits.session(0)])
    outputs = PlainModel(folder / "models" / soak_visits.SESSION_MODEL / "1").every_prediction(session)[0, -1]
    user: dict[str, Any] = {
        **dict.fromkeys(
            ("writes", "rewinds", "repeated", "misshapen_outputs", "lost_steps", "doubled_steps"), 0
        ),
        "longest_pause_seconds": 0.1,
        "slow": [],
        "resumptions": {},
        "trouble": None,
    }
    return Soaked(
        users=[user],
        replies=folder / "replies.npz",
        visited={
            "documents_sent": 2,
            "documents": documents,
            "generations": [[0, *generation(plains[1], 0)]],
            "sessions": [[0, outputs.tolist()]],
            "asked_again": 3,
            "cut": 0,
            "errors": [],
        },
        lives=[life(0), life(1), life(0), life(1)],
        reloads=Reloads(looks=4, replaced=3),
        scrapes=20,
    )


def generation(plain: PlainModel, number: int) -> tuple[list[int], list[float]]:
    """What a model generates."""
    tape, told = soak_visits.prompt(number), []
    for _ in range(soak_visits.GENERATED_STEPS):
        predicted = plain.every_prediction(np.array([tape]))[0, -1]
        tape = [*tape, int(predicted.argmax())]
        told.append(float(predicted.max()))
    return tape[-len(told) :], told


def life(replica: int, *, exit_code: int = 0, growth: float = 1.0, seconds: int = 300) -> Life:
    """A process that holds a megabyte, and from two thirds of its life on that times its growth."""
    held = [(float(at), int(1e6 * (growth if at > 2 * seconds / 3 else 1.0))) for at in range(seconds + 1)]
    return Life(
        replica=replica,
        begun=-1,
        served=0,
        told_to_leave=seconds,
        left=seconds + 0.5,
        exit_code=exit_code,
        resident_bytes=held,
    )


def flaws(soaked: Soaked, folder: Path) -> dict[str, int]:
    """Those that a verdict finds. It is ok if and only if there are none."""
    figures = judged(SOAK, soaked, folder)
    json.dumps(figures)
    found = {flaw: figures[flaw] for flaw in FLAWS if figures[flaw]}
    assert figures["ok"] is not bool(found)
    return found


def test_a_soak_in_which_all_went_well_is_ok(soaked, folder) -> None:
    """Answers of the old and of the new weights are right, and a generation may have been asked again."""
    assert flaws(soaked, folder) == {}
    figures = judged(SOAK, soaked, folder)
    assert figures["documents_by_content"] == [1, 1]
    assert figures["generations_by_content"] == [0, 1]
    assert figures["processes_judged_by_memory"] == 4


@pytest.mark.parametrize("flaw", ["lost_steps", "doubled_steps"])
def test_what_users_saw_of_their_tapes_counts(soaked, folder, flaw) -> None:
    """One step lost or doubled is one too many."""
    soaked.users[0][flaw] = 1
    assert flaws(soaked, folder) == {flaw: 1}


def test_slow_writes_are_told_with_what_servers_did_meanwhile(soaked, folder) -> None:
    """The slowest first, each with the processes that started or left at that time."""
    soaked.lives[1].told_to_leave, soaked.lives[1].left = 100.0, 100.5
    soaked.lives[2].begun, soaked.lives[2].served = 90.0, 94.0
    soaked.users[0]["slow"] = [
        {"begun": 50.0, "ended": 53.0},
        {"begun": 93.0, "ended": 101.0},
    ]
    figures = judged(SOAK, soaked, folder)
    assert figures["slow_writes"] == 2
    told = figures["slowest_writes"]
    assert [(slow["begun"], slow["ended"]) for slow in told] == [(94.0, 102.0), (51.0, 54.0)]
    leaving, starting = told[0]["meanwhile"]
    assert (leaving["replica"], leaving["told_to_leave"], leaving["left"]) == (1, 101.0, 101.5)
    assert (starting["replica"], starting["begun"], starting["served"]) == (0, 91.0, 95.0)
    assert told[1]["meanwhile"] == []


@pytest.mark.parametrize(("error", "flaw"), [(True, "sessions_with_error"), (False, "sessions_gone_astray")])
def test_a_user_in_trouble_counts(soaked, folder, error, flaw) -> None:
    """One who saw an error, and one whose session stands elsewhere."""
    soaked.users[0]["trouble"] = {"error": error, "what": "something"}
    assert flaws(soaked, folder) == {flaw: 1}


def test_wrong_answers_of_every_kind_count(soaked, folder) -> None:
    """A document's sum, a generation's token, a short session's output."""
    soaked.visited["documents"][1][1] += 0.01
    soaked.visited["generations"][0][1][4] += 1
    soaked.visited["sessions"][0][1][9] += 0.01
    assert flaws(soaked, folder) == {"wrong_outputs": 3}


def test_a_generation_of_half_old_and_half_new_weights_is_wrong(soaked, folder) -> None:
    """One content must have given the whole."""
    _, old = generation(PlainModel(content(folder, 0)), 0)
    soaked.visited["generations"][0][2][6:] = old[6:]
    assert flaws(soaked, folder) == {"wrong_outputs": 1}


def test_an_output_that_is_cut_short_is_wrong(soaked, folder) -> None:
    """A generation has all its steps, an output the whole vocabulary."""
    number, tokens, told = soaked.visited["generations"][0]
    soaked.visited["generations"][0] = [number, tokens[:-1], told[:-1]]
    soaked.visited["sessions"][0][1].pop()
    assert len(soaked.visited["sessions"][0][1]) + 1 == VOCABULARY
    assert flaws(soaked, folder) == {"wrong_outputs": 2}


def test_documents_without_an_answer_and_with_two_count(soaked, folder) -> None:
    """Each has exactly one."""
    soaked.visited["documents"].append(soaked.visited["documents"][0])
    soaked.visited["documents_sent"] = 3
    assert flaws(soaked, folder) == {"documents_lost": 2}


def test_what_visitors_saw_counts(soaked, folder) -> None:
    """Errors, and generations that ended in the middle."""
    soaked.visited |= {"errors": ["write 7: UnavailableError: gone"], "cut": 2}
    assert flaws(soaked, folder) == {"visitors_with_error": 1, "generations_cut": 2}


def test_an_exit_code_other_than_zero_counts(soaked, folder) -> None:
    """Something was lost (1), or the process was killed (-9), or never left (None)."""
    soaked.lives[:3] = [
        replace(each, exit_code=code) for each, code in zip(soaked.lives, (1, -9, None), strict=False)
    ]
    assert flaws(soaked, folder) == {"bad_exits": 3}


def test_a_model_that_could_not_be_reloaded_counts(soaked, folder) -> None:
    """Nobody else may notice, but an operator would."""
    soaked.reloads.problems.append("soakchanging@1: failed")
    assert flaws(soaked, folder) == {"failed_reloads": 1}


def test_memory_that_grows_counts(soaked, folder) -> None:
    """By more than two hundredths in the last third of a life; a short life is not judged."""
    soaked.lives = [life(0, growth=1.03), life(1, growth=1.01), life(0, growth=1.5, seconds=60)]
    assert flaws(soaked, folder) == {"growing_processes": 1}
    assert judged(SOAK, soaked, folder)["processes_judged_by_memory"] == 2


def test_memory_counts_from_the_last_change_on(soaked, folder) -> None:
    """What was held while models were replaced says nothing, and too little time after that neither."""
    held = [(float(at), 2_000_000 if at < 260 else 3_000_000) for at in range(401)]
    soaked.lives = [replace(life(0), resident_bytes=held)]
    assert flaws(soaked, folder) == {"growing_processes": 1}
    soaked.settled_since = 260.0
    assert flaws(soaked, folder) == {}
    assert judged(SOAK, soaked, folder)["processes_judged_by_memory"] == 1
    soaked.settled_since = 300.0
    assert judged(SOAK, soaked, folder)["processes_judged_by_memory"] == 0


def test_an_alert_that_must_not_fire_counts(soaked, folder) -> None:
    """Any but that of restarts, and that one too as long as there were few."""
    soaked.firing = {"GatehouseLatencyBurnsFast"}
    assert flaws(soaked, folder) == {"unexpected_alerts": 1}
    soaked.firing = {RESTARTS}
    assert flaws(soaked, folder) == {"unexpected_alerts": 1}


def test_an_alert_that_must_fire_is_missed(soaked, folder) -> None:
    """Five processes at one address within half an hour, and silence; or nobody who looked at all."""
    soaked.lives = [life(0) for _ in range(5)]
    assert flaws(soaked, folder) == {"missing_alerts": 1}
    soaked.firing = {RESTARTS}
    assert flaws(soaked, folder) == {}
    soaked.scrapes = 0
    assert flaws(soaked, folder) == {"missing_alerts": 1}
