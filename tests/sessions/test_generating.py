"""Sequences go on as the model says: what is drawn, in what ticks, and what is left behind."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gatehouse_server.engine.observer import Happening
from gatehouse_server.errors import Overloaded
from gatehouse_server.models.registry import Registry
from gatehouse_server.sessions.operations import CloseSequence, DeleteSession, ListResidents, StepSequence
from gatehouse_server.sessions.sampling import Sampling

from tests.sessions.desk import Desk, make_write
from tests.sessions.generating import generate, request, rows_in_use
from tests.sessions.plain_networks import PlainNetwork
from tests.tiny import KEYBOARD_WORDS

NEVER = {KEYBOARD_WORDS.index(word) for word in ("<unk>", "damn")}
END = KEYBOARD_WORDS.index("</s>")
HOW_ARE = [KEYBOARD_WORDS.index(word) for word in ("how", "are")]


def test_the_likeliest_continuation_is_that_of_the_network_alone(
    generating: Desk, oracle: PlainNetwork
) -> None:
    """Each token is the likeliest of plain torch after all before it, but for those that are never drawn; its
    log-probability is the model's, and the end has their sum.
    """
    made = generate(generating, request(prompt=HOW_ARE, max_steps=20, stop_ids=()))
    tape, total = list(HOW_ARE), 0.0
    for step in made.steps[0]:
        expected = oracle.log_probabilities(tape)[-1].clone()
        expected[list(NEVER)] = -torch.inf
        assert step.token_id == int(expected.argmax())
        assert step.position == len(tape)
        assert step.log_probability == pytest.approx(float(expected.max()), abs=1e-5)
        total += step.log_probability
        tape.append(step.token_id)
    (end,) = made.ends
    if end.reason == "stop":
        last = oracle.log_probabilities(tape)[-1]
        assert int(last.argmax()) == END
        total += float(last[END])
    else:
        assert len(made.steps[0]) == 20
    assert end.log_probability == pytest.approx(total, abs=1e-4)


def test_draws_follow_what_the_network_alone_predicts(generating: Desk, oracle: PlainNetwork) -> None:
    """4,096 first tokens with fixed seeds are spread as plain torch says (chi-square at 0.999, by Wilson and
    Hilferty, over the tokens that are expected at least five times); what is never drawn is not.
    """
    counts = np.zeros(len(KEYBOARD_WORDS))
    for seed in range(64):
        made = generate(
            generating, request(prompt=HOW_ARE, count=64, max_steps=1), Sampling(temperature=1.5, seed=seed)
        )
        for steps in made.steps:
            counts[END if not steps else steps[0].token_id] += 1
    weights = (oracle.log_probabilities(HOW_ARE)[-1] / 1.5).exp().numpy().astype(np.float64)
    weights[list(NEVER)] = 0
    expected = weights / weights.sum() * counts.sum()
    assert counts[list(NEVER)].sum() == 0
    often = expected >= 5
    assert (counts[~often] <= 20).all()
    freedom = int(often.sum()) - 1
    assert freedom > 20
    statistic = float(np.sum((counts - expected)[often] ** 2 / expected[often]))
    assert statistic < freedom * (1 - 2 / (9 * freedom) + 3.09 * np.sqrt(2 / (9 * freedom))) ** 3


def test_alternatives_share_the_prompt_and_every_tick(generating: Desk) -> None:
    """The prompt is computed once, and each step of all alternatives in one tick."""
    generating.counts.ticks.clear()
    made = generate(
        generating, request(prompt=HOW_ARE * 20, count=5, max_steps=6), Sampling(temperature=5.0, seed=3)
    )
    # One that was stopped took one step more than it has, to find that out.
    taken = [len(steps) + (end.reason == "stop") for steps, end in zip(made.steps, made.ends, strict=True)]
    going_on = [sum(count > number for count in taken) for number in range(1, 6)]
    stepping = [tick.sessions for tick in generating.counts.ticks if tick.steps == tick.sessions]
    prompt_steps = sum(tick.steps for tick in generating.counts.ticks if tick.steps != tick.sessions)
    assert prompt_steps == 40
    assert stepping == [count for count in going_on if count]


def test_the_same_seed_goes_on_the_same_way_whatever_else_happens(
    generators: Registry, generating: Desk
) -> None:
    """Neither neighbours in the ticks nor more alternatives, nor how the sequence came about, nor another process
    change a token or a bit of a log-probability.
    """
    sampling = Sampling(temperature=1.2, top_k=30, top_p=0.95, seed=11)
    prompt = [*HOW_ARE, *HOW_ARE]
    alone = generate(generating, request(prompt=prompt, count=2, max_steps=12), sampling)
    busy = [generating.create().session_id for _ in range(6)]
    crowd = [make_write(session_id, HOW_ARE, scores=True) for session_id in busy]
    crowded = generate(generating, request(prompt=prompt, count=4, max_steps=12), sampling, others=crowd)
    session = generating.create().session_id
    generating.write(session, HOW_ARE)
    forked = generate(
        generating, request(session_id=session, prompt=HOW_ARE, count=2, max_steps=12), sampling
    )
    elsewhere = generate(Desk(generators), request(prompt=prompt, count=2, max_steps=12), sampling)
    for other in (crowded, forked, elsewhere):
        assert other.steps[:2] == alone.steps
        assert other.ends[:2] == alone.ends
    assert alone.tokens(0) != alone.tokens(1)


def test_without_a_seed_each_time_is_another(generating: Desk) -> None:
    """The server draws one: eight continuations of twelve hot draws do not come twice."""
    asked = request(count=8, max_steps=12)
    first, second = (generate(generating, asked, Sampling(temperature=3.0)) for _ in range(2))
    assert [first.tokens(n) for n in range(8)] != [second.tokens(n) for n in range(8)]


def test_a_token_that_stops_is_not_handed_out(generating: Desk) -> None:
    """The continuation ends before it, and the sum at its end has it. Any token may be one, the model's end token
    always is.
    """
    asked = request(prompt=HOW_ARE, count=64, max_steps=64)
    free = generate(generating, asked, Sampling(temperature=2.0, seed=1))
    assert "stop" in {end.reason for end in free.ends}
    assert not any(END in free.tokens(n) for n in range(64))
    stop = next(free.tokens(n)[0] for n in range(64) if free.tokens(n))
    cut = generate(
        generating,
        request(prompt=HOW_ARE, count=64, max_steps=64, stop_ids=(stop,)),
        Sampling(temperature=2.0, seed=1),
    )
    for number in range(64):
        tokens = free.tokens(number)
        kept = tokens.index(stop) if stop in tokens else len(tokens)
        assert cut.tokens(number) == tokens[:kept]
        scored = sum(step.log_probability for step in free.steps[number][: kept + 1])
        if stop in tokens:
            assert cut.ends[number].log_probability == pytest.approx(scored)


def test_unknown_and_blocked_words_are_never_drawn_but_may_stop(generating: Desk) -> None:
    """Drawn nearly evenly, every other word comes; one that is asked for as a stop ends a continuation."""
    hot = Sampling(temperature=1000.0, seed=5)
    drawn: set[int] = set()
    for _ in range(2):
        made = generate(generating, request(count=64, max_steps=40), hot)
        drawn |= {token for number in range(64) for token in made.tokens(number)}
    assert drawn == set(range(len(KEYBOARD_WORDS))) - NEVER - {END}
    unknown = KEYBOARD_WORDS.index("<unk>")
    stopped = generate(generating, request(count=64, max_steps=40, stop_ids=(unknown, END)), hot)
    assert sum(len(stopped.tokens(n)) for n in range(64)) < 64 * 40


def test_the_text_of_a_continuation_is_its_pieces_together(generating: Desk) -> None:
    """It begins as the prompt was spelt, and reads back to the same tokens."""
    made = generate(generating, request(prompt="How are ", max_steps=10), Sampling(temperature=1.5, seed=2))
    assert made.tokens()
    assert not made.text().startswith(" ")
    again = generate(generating, request(prompt="How are", max_steps=10), Sampling(temperature=1.5, seed=2))
    assert again.text() == " " + made.text()
    codec = generating.registry.get("keyboard").text
    assert codec is not None
    assert codec.encode(made.text()) == made.tokens()


def test_nothing_is_left_behind(generating: Desk) -> None:
    """While it runs a generation has states, and is no session; when its sequences are closed everything is free."""
    session = generating.create().session_id
    generating.write(session, HOW_ARE)
    before = rows_in_use(generating)
    opened = generating.one(request(session_id=session, prompt=HOW_ARE, count=3))
    generating.tick()
    assert generating.counts.last_gauges.state_bytes > before
    assert generating.counts.last_gauges.continuations == 3
    assert generating.one(ListResidents()).session_ids == (session,)
    assert generating.counts.last_gauges.live_sessions == 1
    generating.ask(*(CloseSequence(sequence_id=each) for each in opened.sequence_ids))
    assert rows_in_use(generating) == before
    generate(generating, request(session_id=session, prompt=HOW_ARE, count=60))
    assert rows_in_use(generating) == before


def test_the_last_end_is_told_though_nothing_else_happens(generating: Desk) -> None:
    """When the lane has nothing more to do it still takes the turn in which the gauges are told."""
    (sequence,) = generating.one(request(prompt=HOW_ARE)).sequence_ids
    generating.tick()
    step = StepSequence(sequence_id=sequence, inputs=np.array(HOW_ARE[:1]))
    tickets = generating.send(step, CloseSequence(sequence_id=sequence))
    generating.tick()
    generating.settle(tickets)
    assert generating.counts.last_gauges.continuations == 1
    assert generating.lane.wakes_in_seconds() == 0.0
    generating.tick()
    assert generating.counts.last_gauges.continuations == 0
    assert generating.lane.wakes_in_seconds() is None


def test_at_the_very_beginning_there_is_a_state_too(generating: Desk) -> None:
    """By the states in use a model is known to be needed, also by a sequence without a step."""
    opened = generating.one(request(count=2))
    generating.tick()
    assert generating.counts.last_gauges.state_bytes > 0
    generating.ask(*(CloseSequence(sequence_id=each) for each in opened.sequence_ids))
    assert rows_in_use(generating) == 0


def test_a_session_that_ends_takes_no_continuation_with_it(generating: Desk) -> None:
    """Sequences that went on from it keep the state they had."""
    session = generating.create().session_id
    generating.write(session, HOW_ARE)
    sampling = Sampling(seed=4)
    expected = generate(generating, request(session_id=session), sampling)
    made = generate(
        generating,
        request(session_id=session),
        sampling,
        others=[DeleteSession(session_id=session, request_id="r")],
    )
    assert made.steps == expected.steps


def test_there_are_no_more_continuations_than_may_be(generating: Desk) -> None:
    """Beyond the limit a generation is refused, with the time to wait, and counted; those under way go on."""
    opened = generating.one(request(count=60))
    (refused,) = generating.ask(request(count=5))
    assert isinstance(refused, Overloaded)
    assert refused.reason == "CONTINUATIONS_FULL"
    assert refused.retry_after_seconds > 0
    assert generating.counts.happenings[Happening.REFUSED_CONTINUATIONS_FULL] == 1
    four = generating.one(request(count=4))
    generating.ask(*(CloseSequence(sequence_id=each) for each in (*opened.sequence_ids, *four.sequence_ids)))
    assert len(generating.one(request(count=64)).sequence_ids) == 64
