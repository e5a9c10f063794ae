"""Batches, network, loop and stored folder of the topics recipe."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from training.topics.__main__ import main, repeatable
from training.topics.batches import Examples, Variation, batches, vary
from training.topics.documents import COLUMNS
from training.topics.export import write_model
from training.topics.loop import Training, half_precision
from training.topics.measures import figures, logits
from training.topics.network import Shape, TopicNetwork, pool
from training.topics.plan import Plan
from training.topics.words import UNKNOWN_ID, Ids, train_tokenizer

STILL = Variation(title_before=0, title_alone=0, crop=0, unknown=0, drop=0, longest_steps=100)


def small_shape(**dropout: float) -> Shape:
    return Shape(vocabulary_size=12, embedding_size=6, hidden_size=5, classes=3, categories=4, **dropout)


def sequences_of(*lengths: int) -> list[Ids]:
    random = np.random.default_rng(0)
    return [random.integers(1, 12, size=length).astype(np.int32) for length in lengths]


def small_training(folder: Path, **changes: float) -> Training:
    """Forty documents whose class is the word they are made of."""
    abstracts = [np.full(6 + place % 5, 1 + place % 3, dtype=np.int32) for place in range(40)]
    labels = torch.tensor([place % 3 for place in range(40)])
    examples = Examples(
        titles=abstracts,
        abstracts=abstracts,
        labels=labels,
        categories=labels,
        soft=torch.nn.functional.one_hot(labels, 3).float(),
    )
    settings = {"epochs": 3, "patience_epochs": 3, "time_limit_seconds": None, **changes}
    plan = Plan(
        seed=3,
        batch_size=8,
        learning_rate=0.02,
        weight_decay=0.0,
        warm_up_steps=2,
        average_decay=0.9,
        label_smoothing=0.0,
        teacher_share=0.5,
        category_share=0.1,
        variation=STILL,
        **settings,  # type: ignore[arg-type]
    )
    torch.manual_seed(0)
    network = TopicNetwork(small_shape(embedding_dropout=0.1))
    valid = (abstracts, labels)
    return Training(network, plan, examples, valid, folder / "checkpoint.pt", report=lambda line: None)


def test_padding_changes_no_document() -> None:
    """Every document gets the scores it gets alone, whatever lies beside it in a ragged batch."""
    torch.manual_seed(0)
    network = TopicNetwork(small_shape())
    documents = sequences_of(1, 9, 4, 17)
    together = logits(network, documents)
    for place, document in enumerate(documents):
        torch.testing.assert_close(together[place], logits(network, [document])[0], rtol=0, atol=1e-6)


def test_pooling_is_mean_then_maximum_over_the_own_steps() -> None:
    """Steps beyond a sequence's end count neither for its mean nor for its maximum."""
    outputs = torch.tensor([[[1.0], [-3.0], [9.0]], [[-1.0], [-2.0], [-6.0]]])
    pooled = pool(outputs, torch.tensor([2, 3]))
    torch.testing.assert_close(pooled, torch.tensor([[-1.0, 1.0], [-3.0, -1.0]]))


def test_each_document_is_in_exactly_one_batch() -> None:
    """No document is lost or shown twice in an epoch."""
    documents = sequences_of(*range(1, 30))
    for random in (None, np.random.default_rng(1)):
        places = torch.cat([batch.places for batch in batches(documents, size=4, random=random)])
        assert sorted(places.tolist()) == list(range(29))


def test_training_batches_have_one_width_and_evaluation_keeps_every_word() -> None:
    """In training a batch is cut to its shortest document; in evaluation nothing is cut."""
    documents = sequences_of(3, 8, 5, 9, 2, 7)
    for batch in batches(documents, size=3, random=np.random.default_rng(1)):
        assert set(batch.lengths.tolist()) == {batch.ids.shape[1]}
    for batch in batches(documents, size=3, random=None):
        for row, place in enumerate(batch.places.tolist()):
            assert batch.ids[row, : batch.lengths[row]].tolist() == documents[place].tolist()


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_varied_document_is_never_empty(share: float) -> None:
    """Cropping and dropping leave at least one word, whatever their shares."""
    variation = Variation(
        title_before=0.2, title_alone=share / 2, crop=share, unknown=share, drop=share, longest_steps=4
    )
    random = np.random.default_rng(0)
    for _ in range(50):
        varied = vary(sequences_of(0)[0], sequences_of(7)[0], variation, random)
        assert 1 <= varied.size <= 4


def test_variation_makes_words_unknown_and_changes_nothing_when_still() -> None:
    """Shares of zero leave the abstract as it is; a share of one for unknown words replaces all."""
    title, abstract = sequences_of(2, 7)
    random = np.random.default_rng(0)
    assert vary(title, abstract, STILL, random).tolist() == abstract.tolist()
    blind = Variation(title_before=0, title_alone=0, crop=0, unknown=1.0, drop=0, longest_steps=100)
    assert vary(title, abstract, blind, random).tolist() == [UNKNOWN_ID] * 7


def test_figures_of_a_known_confusion() -> None:
    """Accuracy, precision, recall and macro F1 follow from the counts; rows are the true class."""
    scores = torch.eye(3)[torch.tensor([0, 0, 1, 1, 1, 1])]
    result = figures(scores, torch.tensor([0, 0, 0, 1, 1, 2]))
    assert result.confusion.tolist() == [[2, 1, 0], [0, 2, 0], [0, 1, 0]]
    assert result.accuracy == pytest.approx(4 / 6)
    assert result.recall.tolist() == pytest.approx([2 / 3, 1, 0])
    assert result.precision.tolist() == pytest.approx([1, 0.5, 0])
    assert result.macro_f1 == pytest.approx((0.8 + 2 / 3 + 0) / 3)


def test_training_learns_and_keeps_the_best_weights(tmp_path: Path) -> None:
    """Separable documents are learned, and the figures told are those of the weights kept."""
    training = small_training(tmp_path, epochs=12, patience_epochs=12)
    result = training.run()
    assert result.accuracy == 1.0
    assert training.progress.best_accuracy == result.accuracy
    assert training.evaluate(training.best).loss == training.progress.best_loss


def test_a_resumed_run_ends_as_an_unbroken_one(tmp_path: Path) -> None:
    """Stopping after an epoch and resuming gives bit for bit the weights of a run in one piece."""
    whole = small_training(tmp_path)
    whole.run()
    broken = small_training(tmp_path)
    broken._close_epoch(broken._epoch())
    again = small_training(tmp_path)
    again.resume()
    assert again.progress.epoch == 1
    again.run()
    for name, value in whole.best.items():
        assert torch.equal(value, again.best[name]), name
    assert whole.progress.train_loss == again.progress.train_loss


def test_a_checkpoint_of_another_shape_is_refused(tmp_path: Path) -> None:
    """Resuming with another network says what was expected and what was found."""
    training = small_training(tmp_path)
    training.save()
    training.network = TopicNetwork(small_shape())
    with pytest.raises(ValueError, match=r"expected Shape.*got Shape"):
        training.resume()


def test_time_ends_a_run_with_weights_to_keep(tmp_path: Path) -> None:
    """A time limit reached in the first epoch still leaves a closed epoch and its weights."""
    training = small_training(tmp_path, epochs=1000, time_limit_seconds=6.0)
    ticks = iter(range(10**6))  # two looks at the clock a step
    training._clock = lambda: float(next(ticks))
    training.run()
    assert training.progress.epoch == 1
    assert training.progress.step < 5
    assert training.progress.best_epoch == 1


def test_patience_ends_a_run_that_gets_no_better(tmp_path: Path) -> None:
    """Without a better epoch the run ends after the patience, not after all epochs."""
    training = small_training(tmp_path, epochs=1000, patience_epochs=2)
    training.progress.best_accuracy = 2.0  # better than any epoch can be
    training.run()
    assert training.progress.epoch == 2


def test_the_folder_holds_what_the_format_asks(tmp_path: Path) -> None:
    """Stored weights are float16 under torch's names, fit the configuration, and omit the category head."""
    tokenizer = train_tokenizer(["a b c d e f g h i j k"], vocabulary_size=12)
    network = TopicNetwork(small_shape())
    write_model(
        tmp_path,
        shape=network.shape,
        labels=["x", "y", "z"],
        weights=network.state_dict(),
        tokenizer=tokenizer,
        version="1",
    )
    stored = load_file(tmp_path / "model.safetensors")
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    rnn = torch.nn.LSTM(6, 5, bidirectional=True).state_dict()
    expected = {f"rnn.{name}": value.shape for name, value in rnn.items()}
    expected |= {
        "embedding.weight": torch.Size([12, 6]),
        "head.weight": torch.Size([3, 20]),
        "head.bias": torch.Size([3]),
    }
    assert {name: value.shape for name, value in stored.items()} == expected
    assert {value.dtype for value in stored.values()} == {torch.float16}
    assert config["labels"] == ["x", "y", "z"]
    assert config["pooling"] == ["mean", "max"]
    assert config["input"]["vocabulary_size"] == tokenizer.get_vocab_size() == 12
    for name, value in half_precision(network.state_dict()).items():
        if name in stored:
            assert torch.equal(stored[name].float(), value)


def test_the_command_trains_writes_and_resumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From two small files the command makes a folder of all five files and goes on where it stopped."""
    data = tmp_path / "arxiv-abstracts-12"
    data.mkdir()
    topics = {"birds": "the owl sings in a tree at night", "ships": "a vessel sails over the sea by day"}
    for name, copies in (("train.tsv", 12), ("valid.tsv", 4)):
        rows = [
            "\t".join((label, str(n), f"{label}.x", "2001-01-01", "title", text))
            for n in range(copies)
            for label, text in topics.items()
        ]
        (data / name).write_text("\n".join(["\t".join(COLUMNS), *rows]) + "\n", encoding="utf-8")
    output = tmp_path / "topics" / "1"
    command = f"--data {tmp_path} --state {tmp_path / 'state'} --output {output} --vocabulary-size 16 "
    command += "--embedding-size 8 --hidden-size 8 --teacher-folds 2 --batch-size 8"
    main([*command.split(), "--epochs", "1"])
    main([*command.split(), "--epochs", "2", "--resume"])
    assert "resumed after epoch 1" in capsys.readouterr().out
    names = {path.name for path in output.iterdir()}
    assert names == {"config.json", "model.safetensors", "tokenizer.json", "card.md", "loss.png"}
    card = (output / "card.md").read_text(encoding="utf-8")
    assert "2 epochs" in card
    assert "CC0" in card
    assert "--data DIR" in card
    assert str(tmp_path) not in card


def test_the_command_on_the_card_names_no_folder_of_the_machine() -> None:
    """What decides the weights is repeated; where files lay on one machine is not."""
    given = [
        "--data",
        "/here",
        "--epochs",
        "3",
        "--resume",
        "--state",
        "/there",
        "--output=/elsewhere",
        "--seed=2",
    ]
    assert " ".join(repeatable(given)) == "python -m training.topics --data DIR --epochs 3 --seed=2"
