"""Sessions in random games: every reply is that of a network run alone, over the tape as it has to read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

import gatehouse_server.sessions.writing
import pytest
from gatehouse_server.models.registry import Registry
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.sessions.plain_networks import PlainNetwork
from tests.sessions.tape_drawing import MODELS
from tests.sessions.tape_machine import TapeMachine
from tests.tiny import write_tiny_features, write_tiny_keyboard, write_tiny_melody

HAS_TO_HAPPEN = (
    "rewind",
    "rewind after hibernate",
    "append after host",
    "append after store",
    "POSITION_NOT_RETAINED",
    "duplicate",
    "duplicate after restart",
    "retry that overtakes",
    "pipeline",
    "REVISION_CONFLICT",
    "STATE_BEHIND",
    "PRECEDING_WRITE_REFUSED",
    "suggestions that moved",
    "rebuilt",
    "fork",
    "fork at an earlier position",
    "fork, then rewind of the parent",
    "fork in a pipeline",
    "import",
    "import after the source moved",
    "altered export refused",
    "SESSION_DELETED",
    "SESSION_EVICTED",
    "SESSION_EXPIRED",
    "end in mid-write",
    "orderly restart",
    "sudden restart",
    "restart with lost writes",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The models that sessions run on, served and in plain torch."""

    registry: Registry
    networks: dict[str, PlainNetwork]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """A projected LSTM that predicts words, a GRU that predicts notes, and a GRU of features."""
    folder = tmp_path_factory.mktemp("models")
    write_tiny_keyboard(folder / "keyboard" / "1", scale=0.4)
    write_tiny_melody(folder / "melody" / "1")
    write_tiny_features(folder / "motion" / "1")
    registry = Registry.load([folder], embedded=None)
    assert not registry.failed
    return Stage(registry=registry, networks={name: PlainNetwork(folder / name / "1") for name in MODELS})


def play(stage: Stage, *, examples: int, steps: int = 30, at_random: bool = False) -> Counter[str]:
    """Plays so many games; what happened in them. At random, a game that fails is made as short as possible."""

    class Machine(TapeMachine):
        registry = stage.registry
        networks = stage.networks
        counts: ClassVar[Counter[str]] = Counter()

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=not at_random,
            database=None,
            deadline=None,
            report_multiple_bugs=False,
            phases=(Phase.generate, Phase.shrink) if at_random else (Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )
    return Machine.counts


@pytest.mark.timeout(300)
def test_every_reply_is_that_of_a_network_run_alone_over_the_tape(stage):
    """Writes, rewinds, repeats, forks, exports, ends and restarts in any order: each reply is what the tape says."""
    counts = play(stage, examples=100)
    assert counts["examples"] == 100
    assert not [what for what in HAS_TO_HAPPEN if not counts[what]], counts


@pytest.mark.timeout(300)
def test_the_game_is_lost_when_a_repeated_write_is_applied_again(stage, monkeypatch):
    """The games can fail: with the check for repeated writes switched off, one of them does, for that reason."""
    judge = gatehouse_server.sessions.writing.judge

    def forgetful(*arguments):
        judge(*arguments)

    monkeypatch.setattr(gatehouse_server.sessions.writing, "judge", forgetful)
    with pytest.raises(AssertionError, match="a repeated write was applied again"):
        play(stage, examples=50)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_every_reply_is_right_in_thousands_of_long_games(stage):
    """As above, with other games at each run, ten times as many, and longer ones."""
    counts = play(stage, examples=3000, steps=60, at_random=True)
    assert not [what for what in HAS_TO_HAPPEN if not counts[what]], counts
