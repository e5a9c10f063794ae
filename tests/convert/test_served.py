"""Converted models, served by a real server: their answers are those of the modules that they came from."""

import subprocess

import numpy as np
import pytest
import torch
from gatehouse import Client
from torch import nn

from tests.convert.converting import WORDS, convert
from tests.convert.torch_models import VOCABULARY, Classifier, LanguageModel, seeded
from tests.service.conftest import GATEHOUSE, start, stop


def gatehouse(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the installed command."""
    return subprocess.run([str(GATEHOUSE), *arguments], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def modules() -> dict[str, nn.Module]:
    return {"words": seeded(LanguageModel()), "topics": seeded(Classifier(), seed=1)}


@pytest.fixture(scope="module")
def client(tmp_path_factory, modules):
    """A client of a server of what the command made of both modules."""
    folder = tmp_path_factory.mktemp("converted")
    models = folder / "models"
    for name, module in modules.items():
        torch.save(module.state_dict(), folder / f"{name}.pt")
    # One by the installed command; the other without another process.
    done = gatehouse("models", "convert", str(folder / "words.pt"), str(models), *WORDS)
    assert done.returncode == 0, done.stderr
    topics = convert(folder / "topics.pt", models, *WORDS, "--pooling", "last", "--labels", "a,b,c")
    for said in (done.stdout, topics):
        assert f"Serve it with: gatehouse serve --models {models}" in said
    process, target, _ = start("--models", str(models), "--no-embedded-models")
    with Client(target) as made:
        yield made
    assert stop(process) == 0


def test_a_language_model_online(client, modules):
    """Log-probabilities after every step of a session, over two writes, are torch's."""
    ids = np.random.default_rng(0).integers(VOCABULARY, size=12).tolist()
    with torch.no_grad():
        expected = modules["words"](torch.tensor(ids).unsqueeze(1))[:, 0].log_softmax(1)
    session = client.session("words")
    outputs = [
        output
        for part in (ids[:5], ids[5:])
        for output in session.append(tokens=part, vector=True, every_step=True).outputs
    ]
    answered = np.stack([np.asarray(output.vector) for output in outputs])
    np.testing.assert_allclose(answered, expected.numpy(), atol=1e-5)


def test_a_classifier_of_documents(client, modules):
    """Scores of a document are torch's."""
    ids = np.random.default_rng(1).integers(VOCABULARY, size=30).tolist()
    with torch.no_grad():
        expected = modules["topics"](torch.tensor([ids])).softmax(1)[0]
    (answer,) = client.classify_batch([("d", " ".join(map(str, ids)))], model="topics")
    scores = {each.label: each.score for each in answer.scores}
    np.testing.assert_allclose([scores[label] for label in "abc"], expected.numpy(), atol=1e-5)


def test_a_refusal_in_a_process_of_its_own(tmp_path):
    """The command ends with code 2 and one line on standard error, without a traceback."""
    (tmp_path / "m.pt").write_bytes(b"nothing")
    done = gatehouse("models", "convert", str(tmp_path / "m.pt"), str(tmp_path / "models"))
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("gatehouse models convert: ")
    assert not (tmp_path / "models").exists()
