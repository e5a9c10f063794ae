"""The comparison of cells: what is trained is what is served, and what is measured is what it says."""

import json
import random
import sys

import pytest
import torch
from gatehouse_server.network.spec import parameter_shapes
from torch.nn import functional

from benchmarks import cells, cells_speed, cells_training
from benchmarks.cells import training
from benchmarks.cells_gradients import norms
from benchmarks.cells_kinds import (
    CAUSAL,
    KINDS,
    of_equal_count,
    of_equal_size,
    parameter_count,
    recorded,
    spec_of,
)
from benchmarks.cells_plan import QUICK
from benchmarks.cells_speed import measure
from benchmarks.cells_tasks import Topics
from benchmarks.cells_training import LARGEST_DIFFERENCE, DifferentNumbersError, difference_of, train
from training.cells.network import CellNetwork, Shape
from training.topics.documents import COLUMNS, FOLDER

WORDS = [f"{first}{last}" for first in "bcdfghklmnprst" for last in ("a", "e", "i", "o", "u", "an", "en")]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of made-up corpora, of the form of the real ones."""
    folder = tmp_path_factory.mktemp("data")
    draw = random.Random(1)

    def sentence(count):
        return " ".join(draw.choices(WORDS, k=count))

    (folder / "tatoeba-eng").mkdir()
    (folder / "common-voice-en-sentences").mkdir()
    (folder / FOLDER).mkdir()
    for file, count in (("train.txt", 80), ("valid.txt", 30)):
        text = "\n".join(f"{sentence(draw.randint(2, 8))}." for _ in range(count))
        (folder / "tatoeba-eng" / file).write_text(text, encoding="utf-8")
    (folder / "common-voice-en-sentences" / "sentences.txt").write_text("One.\n", encoding="utf-8")
    for file in ("train.tsv", "valid.tsv"):
        rows = ["\t".join(COLUMNS)]
        for number in range(60):
            label = ("astro", "bio", "math")[number % 3]
            rows.append("\t".join([label, "0", label, "2019", sentence(3), sentence(draw.randint(14, 30))]))
        (folder / FOLDER / file).write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def shape_of(kind, hidden_size=9):
    return Shape(kind=kind, vocabulary_size=30, embedding_size=7, hidden_size=hidden_size, classes=5)


def network_of(kind):
    torch.manual_seed(3)
    return CellNetwork(shape_of(kind))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", ["keyboard", "topics"])
def test_what_is_trained_is_what_is_served(kind, task):
    """Gatehouse's network computes what the trained module does, cell by cell; another weight shows."""
    if task == "keyboard" and kind not in CAUSAL:
        pytest.skip("reads whole texts only")
    network = network_of(kind)
    weights = network.weights()
    spec = spec_of(network.shape, task)
    assert {name: tuple(weight.shape) for name, weight in weights.items()} == parameter_shapes(spec)
    assert difference_of(network, recorded(spec, weights)) < LARGEST_DIFFERENCE
    for name in (name for name in weights if name.startswith("rnn.")):
        other = weights | {name: weights[name] + 0.1}
        assert difference_of(network, recorded(spec, other)) > LARGEST_DIFFERENCE


def test_other_numbers_than_the_trained_ones_end_the_benchmark(data, monkeypatch):
    """Figures of a network that computes something else are not told."""
    monkeypatch.setattr(cells_training, "difference_of", lambda *_: 2 * LARGEST_DIFFERENCE)
    task = Topics(data, QUICK, 1)
    task.kinds = ("rnn",)
    with pytest.raises(DifferentNumbersError, match=r"rnn: .* differs from the trained module by 2.0e-05"):
        train(task, QUICK, lambda line: None)


@pytest.mark.parametrize("kind", CAUSAL)
def test_gradients_are_those_of_everything_that_is_carried_on(kind):
    """By the state at a word: as if the text began there, from that state."""
    network = network_of(kind).double()
    ids = torch.randint(30, (8, 4), generator=torch.Generator().manual_seed(2))
    labels = torch.tensor([0, 3, 1, 4])
    cell, x = network.ahead, network.embedding(ids).detach()
    products = torch.stack([cell.input_bias() + x[step] @ cell.weight_ih.t() for step in range(len(x))])
    state = tuple(torch.zeros(4, 9, dtype=torch.float64) for _ in range(cell.parts))
    expected = []
    for step in range(len(x)):
        state = tuple(part.detach() for part in cell.step(products[step], state, cell.weight_hh.t()))
        begun = tuple(part.clone().requires_grad_() for part in state)
        later = begun
        for product in products[step + 1 :]:
            later = cell.step(product, later, cell.weight_hh.t())
        loss = functional.cross_entropy(network.head(later[0]), labels, reduction="sum")
        gradients = torch.autograd.grad(loss, begun, materialize_grads=True)
        expected.append(torch.cat(gradients, dim=1).norm(dim=1))
    wanted = torch.stack(expected).flip(0)
    mean, median = wanted.mean(dim=1), (wanted / wanted.amax(dim=0)).median(dim=1).values
    found = norms(network, ids, labels)
    assert found["mean"] == pytest.approx((mean / mean.max()).tolist(), rel=1e-3)
    assert found["median"] == pytest.approx(median.tolist(), rel=1e-3)


def test_both_directions_get_gradient_at_both_ends():
    """A network that reads a text from both sides has read the first word last, too."""
    ids = torch.randint(30, (40, 4), generator=torch.Generator().manual_seed(2))
    shares = norms(network_of("bilstm"), ids, torch.tensor([0, 3, 1, 4]))["median"]
    assert min(shares[0], shares[-1]) > 10 * shares[20]


@pytest.mark.parametrize("kind", KINDS)
def test_networks_of_equal_count_are_as_equal_as_units_allow(kind):
    """One unit more or fewer is further from the parameters of the LSTM."""
    model = shape_of("lstm", 20)
    wanted, found = parameter_count(model), of_equal_count(kind, model)
    assert of_equal_size(kind, model).hidden_size == 20
    for hidden_size in (found.hidden_size - 1, found.hidden_size + 1):
        other = parameter_count(shape_of(kind, hidden_size))
        assert abs(other - wanted) >= abs(parameter_count(found) - wanted)


def test_every_kind_is_trained_and_told(data):
    """At both sizes, on both tasks; the one that would see the next word is left out of telling it."""
    lines = []
    figures = training(data, QUICK, lines.append)
    told = {(row["task"], row["kind"], equal) for row in figures["results"] for equal in row["equal"]}
    keyboard = {("keyboard", kind, equal) for kind in CAUSAL for equal in ("size", "count")}
    assert told == keyboard | {("topics", kind, equal) for kind in KINDS for equal in ("size", "count")}
    assert {(row["task"], row["kind"]) for row in figures["tuning"]} == {
        (task, kind) for task in ("keyboard", "topics") for kind in CAUSAL
    }
    for row in figures["gradients"]:
        for shares in (row["before"], row["after"]):
            assert len(shares["median"]) == len(shares["mean"]) == QUICK.gradient_steps
            assert max(shares["mean"]) == 1
        assert row["before"] != row["after"]
    assert len(lines) == len(figures["results"])


def test_every_network_is_timed(monkeypatch):
    """Steps of those that have any, documents of all, at both sizes."""
    monkeypatch.setattr(cells_speed, "KINDS", ("peephole", "bilstm"))
    with torch.inference_mode():
        rows = measure(QUICK, 1)
    assert {(row["kind"], row["model_hidden_size"], equal) for row in rows for equal in row["equal"]} == {
        (kind, model, equal)
        for kind in ("peephole", "bilstm")
        for model in (16, 32)
        for equal in ("size", "count")
    }
    for row in rows:
        assert row["document_us_per_word"] > 0
        assert ("step_us" in row) == ("tick_steps_per_second" in row) == (row["kind"] in CAUSAL)


def test_a_part_that_is_not_measured_stays_as_it_was(tmp_path, monkeypatch, capsys):
    """The file of an earlier run keeps its other part."""
    monkeypatch.setattr(cells.outcome, "RESULTS", tmp_path)
    monkeypatch.setattr(cells, "measure", lambda plan, seed: [{"kind": "rnn"}])
    file = tmp_path / "cells.json"
    file.write_text('{"training": {"results": [7]}, "speed": {"results": [8]}}', encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["cells", "--json", "--quick", "--parts", "speed", "--save", "cells"])
    cells.main()
    written = json.loads(file.read_text(encoding="utf-8"))
    assert json.loads(capsys.readouterr().out) == written
    assert written["training"] == {"results": [7]}
    assert written["speed"]["results"] == [{"kind": "rnn"}]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--parts", "tea"], "--parts: expected some of training, speed, got tea"),
        ([], "--data: the part training needs it"),
        (["--data", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_run_says_so(arguments, told, monkeypatch, capsys):
    """In one line, before anything is measured."""
    monkeypatch.setattr(sys, "argv", ["cells", *arguments])
    with pytest.raises(SystemExit) as ended:
        cells.main()
    assert told in f"{ended.value} {capsys.readouterr().err}"
