"""Network, batches, training loop and export of the keyboard recipe."""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from training.keyboard import corpus
from training.keyboard.batches import assemble, in_order, plan
from training.keyboard.corpus import Encoded, Text
from training.keyboard.course import Settings, learning_rate
from training.keyboard.evaluation import measure, network_scores
from training.keyboard.export import configuration, export, load_exported
from training.keyboard.kernels import projected_lstm, tied_cross_entropy
from training.keyboard.network import KeyboardNetwork, Shape
from training.keyboard.optimization import Run, mean_loss
from training.report import plot_losses, write_card

SHAPE = Shape(vocabulary_size=10, embedding_size=6, hidden_size=8)
SETTINGS = Settings(
    seed=3,
    epochs=3,
    time_limit_seconds=None,
    batch_tokens=24,
    learning_rate=5e-3,
    weight_decay=0.02,
    input_dropout=0.1,
    output_dropout=0.1,
    average_decay=0.9,
    clip_norm=1.0,
    patience_epochs=2,
    dtype=torch.float32,
    warm_up_steps=2,
)
QUIET = Console(quiet=True)


def toy_text(sentences: int = 40) -> Encoded:
    random = np.random.default_rng(0)
    rows = [[*(2 + np.arange(n) % 7), 1] for n in random.integers(1, 9, size=sentences)]
    starts = np.cumsum([0, *(len(row) for row in rows)]).astype(np.int64)
    return Encoded(ids=np.concatenate([np.array(row, dtype=np.int32) for row in rows]), starts=starts)


def toy_run(folder: Path, settings: Settings = SETTINGS) -> Run:
    return Run(SHAPE, settings, toy_text(), toy_text(10), 1, folder, QUIET)


def test_the_kernels_equal_torch_in_value_and_gradient() -> None:
    """The hand-written LSTM and cross-entropy against nn.LSTM and torch's cross-entropy, in float32."""
    torch.manual_seed(0)
    T, B, E, H, V = 5, 3, 6, 8, 300
    lstm = nn.LSTM(E, H, proj_size=E)
    weights = dict(lstm.named_parameters())
    x = torch.randn(T, B, E, requires_grad=True)
    table, bias = torch.randn(V, E, requires_grad=True), torch.randn(V, requires_grad=True)
    targets = torch.randint(0, V, (T * B,))
    inputs = [x, table, bias, *weights.values()]
    with warnings.catch_warnings():
        # torch says once in a process that projections are not in oneDNN.
        warnings.simplefilter("ignore", UserWarning)
        states = lstm(x)[0]
    expected = nn.functional.cross_entropy(states.flatten(0, 1) @ table.t() + bias, targets, reduction="sum")
    summed = weights["bias_ih_l0"] + weights["bias_hh_l0"]
    outputs = projected_lstm(
        x, weights["weight_ih_l0"], weights["weight_hh_l0"], summed, weights["weight_hr_l0"], torch.float32
    )
    got = tied_cross_entropy(outputs.flatten(0, 1), table, bias, targets, torch.float32)
    assert got.item() == pytest.approx(expected.item(), rel=1e-5)
    for ours, torchs in zip(
        torch.autograd.grad(got, inputs), torch.autograd.grad(expected, inputs), strict=True
    ):
        torch.testing.assert_close(ours, torchs, rtol=1e-4, atol=1e-5)


def test_cross_entropy_of_many_rows_equals_torch() -> None:
    """More rows than are held at once, the last part a ragged one."""
    torch.manual_seed(0)
    states, table, bias = torch.randn(601, 4), torch.randn(20, 4), torch.randn(20)
    targets = torch.randint(0, 20, (601,))
    expected = nn.functional.cross_entropy(states @ table.t() + bias, targets, reduction="sum")
    torch.testing.assert_close(tied_cross_entropy(states, table, bias, targets, torch.float32), expected)


def test_a_batch_feeds_the_start_and_asks_for_every_token_once() -> None:
    """Inputs are the start token and the words; targets the words and the end; padding counts nowhere."""
    text = Encoded(ids=np.array([5, 6, 1, 7, 1], dtype=np.int32), starts=np.array([0, 3, 5], dtype=np.int64))
    batch = assemble(text, np.array([0, 1]), start=1)
    assert batch.inputs[:, 0].tolist() == [1, 5, 6]
    assert batch.inputs[:2, 1].tolist() == [1, 7]
    flat: Tensor = torch.tensor([[5, 7], [6, 1], [1, -1]]).flatten()
    assert batch.places.tolist() == [0, 1, 2, 3, 4]
    assert batch.targets.tolist() == flat[:5].tolist()


def test_a_plan_takes_every_sentence_once_within_the_budget() -> None:
    """Shuffled or not, no sentence is lost or doubled, and no batch is wider than allowed."""
    text = toy_text(100)
    lengths = np.diff(text.starts)
    for random in (None, np.random.default_rng(1)):
        batches = plan(text, 24, random)
        assert sorted(np.concatenate(batches).tolist()) == list(range(100))
        assert all(len(batch) == 1 or len(batch) * lengths[batch].max() <= 24 for batch in batches)


def test_training_and_measuring_agree_on_the_loss() -> None:
    """Without dropout the loss trained on is the loss measured, and the perplexity its exponential."""
    torch.manual_seed(0)
    text, network = toy_text(), KeyboardNetwork(SHAPE)
    nats = 0.0
    for batch in in_order(text, 64, 1):
        loss = network.training_loss(
            batch.inputs, batch.places, batch.targets,
            input_dropout=0.0, output_dropout=0.0, dtype=torch.float32,
        )  # fmt: skip
        nats += loss.item() * len(batch.targets)
    mean = mean_loss(network, text, 1)
    assert nats / len(text.ids) == pytest.approx(mean, rel=1e-5)
    figures = measure(network_scores(network, text, 1), [0, 1])
    assert figures.perplexity == pytest.approx(math.exp(mean), rel=1e-5)
    assert figures.targets == len(text.ids)


def test_training_learns_and_keeps_the_best_average(tmp_path: Path) -> None:
    """The validation loss falls, and the best weights kept are those of the best figure noted."""
    run = toy_run(tmp_path, replace(SETTINGS, epochs=8))
    before = mean_loss(run.average, run.valid_text, 1)
    run.train()
    assert run.progressed.finished
    assert run.progressed.best_loss < before - 0.3
    assert run.progressed.best_loss == min(run.progressed.valid_losses)
    assert mean_loss(run.best(), run.valid_text, 1) == pytest.approx(run.progressed.best_loss)


def test_a_resumed_run_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    """Stopped within an epoch and taken up by a new process, training gives the very same weights."""
    whole = toy_run(tmp_path / "whole")
    whole.train()
    # A checkpoint after every batch; the fifth one is where the first part dies.
    part = toy_run(tmp_path / "parts", replace(SETTINGS, checkpoint_seconds=-1.0))
    killed = 5
    step = part._step

    def step_until_killed(chosen: np.ndarray, done: float) -> Tensor:
        if part.progressed.step == killed:
            raise KeyboardInterrupt
        return step(chosen, done)

    part._step = step_until_killed  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        part.train()
    rest = toy_run(tmp_path / "parts", replace(SETTINGS, checkpoint_seconds=-1.0))
    rest.resume()
    assert rest.progressed.step == killed
    assert rest.progressed.batch > 0
    rest.train()
    for name, tensor in whole.network.state_dict().items():
        torch.testing.assert_close(rest.network.state_dict()[name], tensor, rtol=0.0, atol=0.0)
    assert rest.progressed.valid_losses == whole.progressed.valid_losses


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    """Resuming with another learning rate would make the card lie."""
    toy_run(tmp_path).train()
    other = toy_run(tmp_path, replace(SETTINGS, learning_rate=1.0))
    with pytest.raises(ValueError, match="learning_rate"):
        other.resume()


def test_training_stops_when_validation_stops_falling(tmp_path: Path) -> None:
    """With a learning rate that ruins the weights the run gives up, and what it keeps is from before."""
    run = toy_run(tmp_path, replace(SETTINGS, epochs=50, learning_rate=3.0, patience_epochs=2))
    run.train()
    assert run.progressed.epoch < 50
    assert run.progressed.epochs_without_gain == 2
    assert mean_loss(run.best(), run.valid_text, 1) == pytest.approx(run.progressed.best_loss)


def test_a_time_limit_ends_the_run_with_weights_to_export(tmp_path: Path) -> None:
    """Out of time at the first batch, the run is judged once and has a best."""
    run = toy_run(tmp_path, replace(SETTINGS, time_limit_seconds=1e-9))
    run.train()
    assert run.progressed.finished
    assert run.progressed.step == 1
    assert run.best_path.is_file()


def test_the_learning_rate_warms_up_and_falls_to_a_hundredth() -> None:
    """Half the peak halfway through the warm-up, the peak after it, a hundredth at the end and beyond."""
    assert learning_rate(SETTINGS, 0, 0.0) == pytest.approx(SETTINGS.learning_rate / 2)
    assert learning_rate(SETTINGS, 2, 0.0) == pytest.approx(SETTINGS.learning_rate)
    assert learning_rate(SETTINGS, 9, 1.5) == pytest.approx(SETTINGS.learning_rate / 100)


def test_the_exported_folder_holds_the_network(tmp_path: Path) -> None:
    """float16 weights under torch's names, no head weight beside the tied one, and the words' files."""
    text = Text(
        tatoeba=["Tom and I damn Boston.", "So I say, I see Boston and Boston."], common_voice=[], valid=["I"]
    )
    tokenizer = corpus.make_tokenizer(text.train, 10)
    network = KeyboardNetwork(SHAPE)
    export(tmp_path, network, tokenizer, text)
    stored = load_file(tmp_path / "model.safetensors")
    assert {name: tuple(tensor.shape) for name, tensor in stored.items()} == {
        "embedding.weight": (10, 6),
        "head.bias": (10,),
        "rnn.weight_ih_l0": (32, 6),
        "rnn.weight_hh_l0": (32, 6),
        "rnn.bias_ih_l0": (32,),
        "rnn.bias_hh_l0": (32,),
        "rnn.weight_hr_l0": (6, 8),
    }
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    assert json.loads((tmp_path / "config.json").read_text()) == configuration(SHAPE)
    assert Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode("Boston").ids == (
        tokenizer.encode("boston").ids
    )
    display = json.loads((tmp_path / "display.json").read_text())
    assert {"i": "I", "boston": "Boston"}.items() <= display.items()
    assert display.keys() <= tokenizer.get_vocab().keys()
    assert (tmp_path / "blocked.txt").read_text() == "damn\n"
    reloaded = load_exported(tmp_path, SHAPE)
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(reloaded.state_dict()[name], tensor.half().float(), rtol=0.0, atol=0.0)


def test_weights_beyond_float16_are_refused(tmp_path: Path) -> None:
    """A weight stored as infinity would be a broken model."""
    network = KeyboardNetwork(SHAPE)
    with torch.no_grad():
        network.embedding.weight[3, 2] = 1e6
    text = Text(tatoeba=["one two three four five six seven eight"], common_voice=[], valid=[])
    with pytest.raises(ValueError, match=r"embedding\.weight"):
        export(tmp_path, network, corpus.make_tokenizer(text.train, 10), text)


def test_a_report_holds_its_picture_and_its_sections(tmp_path: Path) -> None:
    """The loss picture is a PNG; a card keeps its sections in order; mismatched places are an error."""
    picture = tmp_path / "loss.png"
    plot_losses(picture, [3.0, 2.0], [2.5], "losses", valid_x=[2.0], best_x=2.0)
    assert picture.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="2 training"):
        plot_losses(picture, [3.0, 2.0], [2.5], "losses", train_x=[1.0])
    card = tmp_path / "card.md"
    write_card(card, title="T", summary=" S ", sections=[("A", "a"), ("B", "b")])
    assert card.read_text() == "# T\n\nS\n\n## A\n\na\n\n## B\n\nb\n"
