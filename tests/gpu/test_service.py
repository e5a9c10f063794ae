"""A server that computes on a GPU."""

import json
import subprocess
import sys

import numpy as np
import pytest
from gatehouse.client import Client

from tests.tiny import write_tiny_classifier, write_tiny_keyboard

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(300)]

SERVE = [sys.executable, "-c", "from gatehouse_server.app.command import serve; serve()"]
PORTS = ["--port", "0", "--admin-port", "0", "--http-port", "0"]
WORDS = ["good", "dog", "in", "boston"]
DOCUMENTS = [("a", "we study the star and the galaxy"), ("b", "a proof of the lemma"), ("c", "gene")]
ON_GPU = ["--device", "cuda"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A keyboard and a classifier."""
    root = tmp_path_factory.mktemp("models")
    write_tiny_keyboard(root / "keyboard" / "1")
    write_tiny_classifier(root / "topics" / "1")
    return root


@pytest.fixture(scope="module")
def on_gpu(models):
    """The answers of a server with the default settings."""
    return Answers(models, *ON_GPU)


class Answers:
    """What a server with these flags says of a sentence, written word by word and at once, and of documents."""

    def __init__(self, models, *flags):
        arguments = ["--no-embedded-models", "--models", str(models), "--log-format", "json", *PORTS, *flags]
        with subprocess.Popen([*SERVE, *arguments], stderr=subprocess.PIPE, text=True) as process:
            try:
                self.log = []
                for text in process.stderr:
                    self.log.append(json.loads(text))
                    if self.log[-1]["event"] == "serving":
                        break
                assert self.log[-1]["event"] == "serving", self.log
                with Client(self.log[-1]["grpc"], timeout_seconds=60) as client:
                    self._ask(client)
            finally:
                process.terminate()
                process.wait(timeout=60)

    def _ask(self, client):
        session = client.session("keyboard")
        self.steps = np.array(
            [np.asarray(session.write(text=f"{word} ", vector=True).outputs[0].vector) for word in WORDS]
        )
        whole = client.session("keyboard").write(text=" ".join(WORDS) + " ", vector=True, every_step=True)
        self.chunk = np.array([np.asarray(output.vector) for output in whole.outputs])
        self.best = [each.id for each in session.rewind(to=2, k=3).outputs[0].best]
        found = client.classify(DOCUMENTS, model="topics", in_order=True)
        self.scores = [{each.label: each.score for each in result.scores} for result in found]
        self.model = client.get_model("keyboard")


def events(log, name):
    """The lines of a log about it."""
    return [line for line in log if line["event"] == name]


def test_a_gpu_answers_what_a_cpu_answers(models, on_gpu):
    """Writes of one word and of many, rewinding, suggestions and documents; the log tells of the graphs."""
    on_cpu = Answers(models, "--device", "cpu")
    np.testing.assert_allclose(on_gpu.steps, on_cpu.steps, atol=1e-3)
    np.testing.assert_allclose(on_gpu.chunk, on_cpu.steps, atol=1e-3)
    assert on_gpu.best == on_cpu.best
    for actual, expected in zip(on_gpu.scores, on_cpu.scores, strict=True):
        assert actual == pytest.approx(expected, abs=1e-3)
    (captured,) = events(on_gpu.log, "graphs captured")
    assert captured["graphs"] > 0
    assert on_cpu.model.reproducible
    assert not on_gpu.model.reproducible
    assert not any(line["reproducible"] for line in events(on_gpu.log, "model loaded"))


@pytest.mark.parametrize(
    ("flags", "arithmetic", "largest"),
    [
        (["--tf32"], "tf32", 0.05),
        (["--precision", "bfloat16"], "bfloat16", 0.4),
    ],
)
def test_other_precisions_serve_on_a_gpu(models, on_gpu, flags, arithmetic, largest):
    """Near float32, and told."""
    actual = Answers(models, *ON_GPU, *flags)
    np.testing.assert_allclose(actual.steps, on_gpu.steps, atol=largest)
    assert actual.model.arithmetic == arithmetic


def test_reproducible_answers_of_a_gpu_are_claimed_and_kept(models):
    """With the setting the model says that it is reproducible, and a chunk's steps have the bits of single ones."""
    answers = Answers(models, *ON_GPU, "--reproducible")
    assert answers.model.reproducible
    assert np.array_equal(answers.steps, answers.chunk)
