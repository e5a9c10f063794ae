"""The embedded models, served and driven from the command line; the yardsticks are plain torch."""

import json
import math
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from gatehouse import Client
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import nn

from tests.service.conftest import GATEHOUSE, start, stop
from tests.transducers import by_the_book, torch_transducer
from training.dates.__main__ import held_back_examples
from training.dates.measures import figures_of, read_by_server

ROOT = Path(__file__).parents[2]
EMBEDDED = ROOT / "server" / "gatehouse_server" / "embedded"


@pytest.fixture(scope="module")
def target():
    """A server with the embedded models."""
    process, target, _ = start()
    yield target
    assert stop(process) == 0


def gatehouse(target, *arguments, text=None):
    """Runs a command against the server; its standard output."""
    done = subprocess.run(
        [str(GATEHOUSE), *arguments, "--target", target],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def evaluated_by_plain_torch(folder, sentences):
    """Perplexity and top-3 of a language model: every word and sentence end counts, `</s>` and `<unk>` never hit."""
    weights = {name: tensor.float() for name, tensor in load_file(folder / "model.safetensors").items()}
    config = json.loads((folder / "config.json").read_text())
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    end, unknown = tokenizer.token_to_id("</s>"), tokenizer.token_to_id("<unk>")
    sizes = config["recurrent"]
    rnn = nn.LSTM(sizes["input_size"], sizes["hidden_size"], proj_size=sizes["projection_size"])
    rnn.load_state_dict({name[4:]: tensor for name, tensor in weights.items() if name.startswith("rnn.")})
    total, hits, targets = 0.0, 0, 0
    for sentence in sentences:
        ids = tokenizer.encode(sentence, add_special_tokens=False).ids
        hidden, _ = rnn(weights["embedding.weight"][torch.tensor([end, *ids])].unsqueeze(1))
        predicted = torch.log_softmax(
            hidden[:, 0] @ weights["embedding.weight"].T + weights["head.bias"], dim=1
        )
        wanted = torch.tensor([*ids, end])
        total += predicted[torch.arange(len(wanted)), wanted].double().sum().item()
        predicted[:, [end, unknown]] = -torch.inf
        hits += (predicted.topk(3).indices == wanted[:, None]).any(dim=1).sum().item()
        targets += len(wanted)
    return math.exp(-total / targets), hits / targets


def test_evaluating_through_the_service_gives_the_figures_of_plain_torch(target):
    """Perplexity and top-3 of `gatehouse evaluate` are those of twenty lines of torch that import nothing of ours."""
    path = ROOT / "examples" / "sentences.txt"
    figures = json.loads(gatehouse(target, "evaluate", "keyboard", str(path), "--json"))
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch mentions that projections are not in oneDNN
        perplexity, top_3 = evaluated_by_plain_torch(
            EMBEDDED / "keyboard" / "1", path.read_text(encoding="utf-8").split("\n")[:-1]
        )
    assert figures["perplexity"] == pytest.approx(perplexity, rel=1e-4)
    assert figures["top_3"] == pytest.approx(top_3, abs=1e-4)


@pytest.mark.parametrize(
    "text", ["How are you do", "I want to ", "Thank you very mu", "", "Where are you fr"]
)
def test_suggestions_are_words_a_person_could_mean(target, text):
    """Three distinct words, none of them a control token or a mark, that begin with what was typed."""
    answer = json.loads(gatehouse(target, "suggest", text, "--json"))
    words = [suggestion["text"] for suggestion in answer["suggestions"]]
    prefix = re.search(r"\S*$", text)[0].lower()
    assert len(set(words)) == 3
    assert all(re.fullmatch(r"[A-Za-z'’]+", word) and word.lower().startswith(prefix) for word in words)


def test_the_word_that_everybody_expects_is_suggested(target):
    """What comes next is plain in these, and the model knows it."""
    for text, word in (("How are you do", "doing"), ("Thank you very mu", "much"), ("I don't kn", "know")):
        assert word in gatehouse(target, "suggest", text).split()


def test_documents_get_the_label_that_a_person_would_give(target):
    """The example abstracts, one a class, are sorted into at least ten of their twelve classes."""
    lines = gatehouse(target, "classify", str(ROOT / "examples" / "documents.jsonl")).splitlines()
    results = [json.loads(line) for line in lines]
    assert len(results) == 12
    assert len({result["label"] for result in results}) >= 10
    assert all(math.isclose(sum(result["scores"].values()), 1, abs_tol=1e-4) for result in results)


def test_documents_are_classified_the_same_in_process(target):
    """The class for notebooks and pipelines gives the scores of the service."""
    from gatehouse_server import DocumentClassifier

    path = ROOT / "examples" / "documents.jsonl"
    texts = [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]
    served = [
        json.loads(line) for line in gatehouse(target, "classify", str(path), "--in-order").splitlines()
    ]
    results = DocumentClassifier(EMBEDDED / "topics" / "1").classify(texts)
    for here, there in zip(results, served, strict=True):
        assert here.label == there["label"]
        assert here.score == pytest.approx(there["score"], abs=1e-5)


def test_days_are_read_however_they_are_written(target):
    """At least 98 in 100 of a thousand spellings of days that were held back, searched greedily and with a beam."""
    examples = held_back_examples(1000)
    with Client(target) as client:
        for beam_size in (1, 4):
            figures = figures_of(examples, read_by_server(client, "dates", examples, beam_size=beam_size))
            assert figures.exact >= 0.98
            assert min(figures.by_kind.values()) >= 0.97


def test_the_outputs_of_the_embedded_transducer_are_those_of_plain_torch(target):
    """Text and log-probability of the best three of a beam, by torch's own modules and a search by the book."""
    folder = EMBEDDED / "dates" / "1"
    oracle = torch_transducer(folder)
    reading, writing = (
        Tokenizer.from_file(str(folder / name)) for name in ("tokenizer.json", "output_tokenizer.json")
    )
    options = {"beam_size": 4, "alternatives": 3, "length_penalty": 0.6, "max_output_steps": 12}
    examples = held_back_examples(20)
    with Client(target) as client:
        documents = [(str(number), each.text) for number, each in enumerate(examples)]
        results = list(client.transduce(documents, model="dates", in_order=True, **options))
    for each, result in zip(examples, results, strict=True):
        expected = by_the_book(
            oracle.reading(np.array(reading.encode(each.text).ids)),
            end_id=writing.token_to_id("</s>"),
            banned=[writing.token_to_id("<s>")],
            **options,
        )
        assert [hypothesis.text for hypothesis in result.hypotheses] == [
            writing.decode(list(tokens)) for tokens, *_ in expected
        ]
        for hypothesis, (_, total, _, _) in zip(result.hypotheses, expected, strict=True):
            assert hypothesis.log_probability == pytest.approx(total, abs=1e-4)


def test_a_day_is_read_on_the_command_line(target):
    """As the README says."""
    assert gatehouse(target, "transduce", "the third of march, 2021") == "2021-03-03\n"


def test_the_first_example_of_the_readme_runs_and_prints_what_it_says(target):
    """The README's first Python example, word for word, gives the output below it."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    example, _, rest = readme.partition("```python\n")[2].partition("```")
    promised = rest.partition("```\n")[2].partition("```")[0]
    done = subprocess.run(
        [sys.executable, "-c", example.replace("localhost:50051", target)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout == promised
