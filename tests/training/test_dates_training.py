"""Batches, network, loop, figures and stored folder of the recipe of `dates`."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from random import Random

import pytest
import torch
from gatehouse_server.models.folder import load_folder
from safetensors.torch import load_file

from training.dates.__main__ import SPLIT_SEED, held_back_examples, main, repeatable
from training.dates.batches import Batcher
from training.dates.days import examples, split_days
from training.dates.loop import Plan, measure, rate, train
from training.dates.measures import read_by_network
from training.dates.network import DateNetwork, Shape
from training.dates.tokenization import input_tokenizer, output_tokenizer

READING, WRITING = input_tokenizer(), output_tokenizer()


def small_network() -> DateNetwork:
    """Too small to be good at it."""
    torch.manual_seed(0)
    return DateNetwork(
        Shape(
            input_vocabulary=READING.get_vocab_size(),
            input_embedding=8,
            encoder_hidden=12,
            output_vocabulary=WRITING.get_vocab_size(),
            output_embedding=6,
            decoder_hidden=10,
        )
    )


def plan(steps: int = 6) -> Plan:
    """A run of a few steps."""
    return Plan(
        steps=steps,
        batch_size=16,
        learning_rate=0.02,
        weight_decay=0.0,
        warmup_steps=2,
        report_steps=3,
        seed=1,
    )


def test_a_batch_gives_each_character_those_before_it() -> None:
    """What is given begins with the start token, what is wanted ends with the end token; the rest is the day."""
    batch = Batcher(READING, WRITING).batch(examples([date(2021, 3, 3)], 3, Random(0)))
    start, end = WRITING.token_to_id("<s>"), WRITING.token_to_id("</s>")
    assert batch.given[:, 0].tolist() == [start] * 3
    assert batch.wanted[:, -1].tolist() == [end] * 3
    assert torch.equal(batch.given[:, 1:], batch.wanted[:, :-1])
    assert WRITING.decode(batch.wanted[0, :-1].tolist()) == "2021-03-03"
    assert int(batch.lengths.max()) == batch.ids.shape[1]


def test_padding_changes_no_summary() -> None:
    """Every text has the summary that it has alone."""
    network, batcher = small_network().eval(), Batcher(READING, WRITING)
    drawn = examples([date(2021, 3, 3), date(1984, 11, 30)], 8, Random(2))
    together = batcher.batch(drawn)
    summaries = network.encoder(together.ids, together.lengths)
    for row, each in enumerate(drawn):
        alone = batcher.batch([each])
        torch.testing.assert_close(
            summaries[row], network.encoder(alone.ids, alone.lengths)[0], rtol=0, atol=1e-6
        )


def test_a_day_that_is_right_given_the_truth_is_found_greedily() -> None:
    """And no other: the share that is measured in training is the share of exact matches."""
    network, batcher = small_network(), Batcher(READING, WRITING)
    few = [date(2021, 3, 1) + timedelta(days=number) for number in range(3)]
    train(network, plan(120), batcher, few, examples(few, 20, Random(3)), lambda line: None)
    drawn = examples(few, 60, Random(4))
    _, exact = measure(network, batcher.batch(drawn))
    found = [
        read == each.day for read, each in zip(read_by_network(network, batcher, drawn), drawn, strict=True)
    ]
    assert sum(found) / len(found) == pytest.approx(exact)
    assert exact > 0


def test_training_is_the_same_each_time_and_learns() -> None:
    """Same seed, same weights; and the loss falls."""
    batcher, days = Batcher(READING, WRITING), [date(2021, 3, number) for number in range(1, 29)]
    runs = []
    for _ in range(2):
        network = small_network()
        progress = train(network, plan(30), batcher, days, examples(days, 20, Random(3)), lambda line: None)
        runs.append((network.state_dict(), progress.valid_loss))
    assert all(torch.equal(value, runs[1][0][name]) for name, value in runs[0][0].items())
    assert runs[0][1] == runs[1][1]
    assert runs[0][1][-1] < 0.8 * runs[0][1][0]


def test_the_learning_rate_rises_then_falls_to_nothing() -> None:
    """Along a line, then a cosine."""
    rates = [rate(step, plan(100)) for step in range(101)]
    assert rates[0] == 0.5
    assert max(rates) == rates[2] == 1
    assert rates[51] == pytest.approx(0.5)
    assert rates[100] == 0
    assert rates[2:] == sorted(rates[2:], reverse=True)


def test_the_command_trains_and_writes_a_folder_that_loads(tmp_path: Path) -> None:
    """With both networks in float16, both tokenizers, a picture, and a card with figures, baseline and command."""
    folder = tmp_path / "dates" / "1"
    sizes = ["--encoder-hidden", "8", "--decoder-hidden", "8", "--batch-size", "8", "--steps", "3"]
    main(["--output", str(folder), "--examples", "40", *sizes])
    model = load_folder(folder)
    assert (model.key, model.config.task) == ("dates@1", "transducer")
    assert model.transducer is not None
    assert {value.dtype for value in load_file(folder / "model.safetensors").values()} == {torch.float16}
    assert (folder / "loss.png").read_bytes().startswith(b"\x89PNG")
    card = (folder / "card.md").read_text(encoding="utf-8")
    assert "| **this model**, greedy |" in card
    assert "| python-dateutil |" in card
    assert f"python -m training.dates --examples 40 {' '.join(sizes)}" in card
    assert str(tmp_path) not in card
    assert json.loads((folder / "config.json").read_text())["version"] == "1"


def test_what_is_measured_is_the_same_each_time() -> None:
    """The same spellings, of many days that are held back."""
    assert held_back_examples(50) == held_back_examples(50)
    held_back = {day.isoformat() for day in split_days(SPLIT_SEED).held_back}
    days = {each.day for each in held_back_examples(50)}
    assert len(days) > 40
    assert days <= held_back


def test_the_command_on_the_card_names_no_folder_of_the_machine() -> None:
    """What decides the outcome stays."""
    assert repeatable(["--output", "/home/me/dates/2", "--seed", "3"]) == ["--seed", "3"]
