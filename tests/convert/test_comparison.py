"""Conversions end with a comparison: what passes it, what does not, and in which form answers are compared."""

import numpy as np
import pytest
import torch
from gatehouse_server.convert import comparison
from gatehouse_server.convert.port import ConversionError, Reference
from torch import nn

from tests.convert.converting import WORDS, convert, converted, refusal
from tests.convert.torch_models import VOCABULARY, LanguageModel, seeded


@pytest.fixture
def source(tmp_path):
    torch.save(seeded(nn.GRU(2, 3)).state_dict(), tmp_path / "m.pt")
    return tmp_path / "m.pt"


def reference(change):
    """A reference for a GRU(2, 3) whose answers are changed on their way."""
    gru = seeded(nn.GRU(2, 3, batch_first=True))

    @torch.no_grad()
    def run(inputs):
        return change(gru(inputs)[0])

    return Reference(name="a reference", run=run, form="outputs")


@pytest.mark.parametrize(
    ("change", "largest"),
    [
        (lambda answers: answers, 0.0),
        (lambda answers: answers + 0.25, 0.25),
        (lambda answers: answers.flip(1), None),
    ],
)
def test_the_largest_difference_is_told(tmp_path, source, change, largest):
    """It is over all values, and zero for equal answers."""
    model = converted(source, tmp_path / "models")
    found = comparison.compare_with_reference(model, reference(change), seed=0)
    assert found.values == 3 * 20 * 3
    if largest is None:
        assert found.largest > 0.01
    else:
        assert found.largest == pytest.approx(largest, abs=1e-6)


def test_what_is_not_a_number_never_passes(tmp_path, source):
    """A NaN on either side is above any tolerance."""
    model = converted(source, tmp_path / "models")
    found = comparison.compare_with_reference(
        model, reference(lambda answers: answers * float("nan")), seed=0
    )
    with pytest.raises(ConversionError, match="answers differ"):
        found.check(tolerance=1e9)


def test_a_reference_of_another_shape(tmp_path, source):
    """Answers of another shape are no answers, whatever their numbers."""
    model = converted(source, tmp_path / "models")
    with pytest.raises(ConversionError, match=r"answers \(3, 3\), the converted model \(3, 20, 3\)"):
        comparison.compare_with_reference(model, reference(lambda answers: answers[:, -1]), seed=0)


def test_a_reference_that_fails(tmp_path, source):
    """A reference that cannot be run is told."""

    def failing(answers):
        raise RuntimeError("out of order")

    model = converted(source, tmp_path / "models")
    with pytest.raises(ConversionError, match="a reference cannot run the source"):
        comparison.compare_with_reference(model, reference(failing), seed=0)


def test_tolerance_grows_with_large_values(tmp_path, source):
    """The tolerance is of values up to 1; rounding of larger ones is larger."""
    found = comparison.Difference(against="a", form="logits", values=1, largest=3e-4, scale=100.0)
    found.check(tolerance=1e-5)
    with pytest.raises(ConversionError, match="tolerance 1e-06"):
        found.check(tolerance=1e-6)


def test_a_tolerance_of_nothing(tmp_path, source):
    """A difference above the tolerance fails, and nothing is written."""
    x, y = np.ones((1, 4, 2), dtype=np.float32), np.zeros((1, 4, 3), dtype=np.float32)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    checks = ["--check-inputs", str(tmp_path / "x.npy"), "--check-outputs", str(tmp_path / "y.npy")]
    assert "answers differ" in refusal(source, tmp_path / "models", *checks)
    convert(source, tmp_path / "models", *checks, "--tolerance", "2")


@pytest.mark.parametrize("form", ["outputs", "logits", "scores", "log_scores"])
def test_vectors_in_each_form(tmp_path, form):
    """Vectors may be of what the layers hand on, or of logits, scores or their logarithms."""
    module = seeded(LanguageModel(layers=1))
    torch.save(module.state_dict(), tmp_path / "lm.pt")
    ids = torch.randint(VOCABULARY, (2, 7))
    with torch.no_grad():
        outputs = module.rnn(module.encoder(ids.t()))[0].transpose(0, 1)
        logits = module.decoder(outputs)
    wanted = {
        "outputs": outputs,
        "logits": logits,
        "scores": logits.softmax(2),
        "log_scores": logits.log_softmax(2),
    }[form]
    np.save(tmp_path / "x.npy", ids.numpy())
    np.save(tmp_path / "y.npy", wanted.numpy())
    checks = ["--check-inputs", str(tmp_path / "x.npy"), "--check-outputs", str(tmp_path / "y.npy")]
    output = convert(tmp_path / "lm.pt", tmp_path / "models", *WORDS, *checks, "--check-form", form)
    assert output.count("difference") == 2
    assert f"{form.replace('_', ' ')}, from {tmp_path / 'y.npy'}" in output


@pytest.mark.parametrize(
    ("inputs", "problem"),
    [
        (None, "there is no such file"),
        (np.ones((2, 4, 3)), "expected features (B, T, 2), got (2, 4, 3)"),
        (np.ones(4), "expected features (B, T, 2), got (4)"),
        (np.ones((2, 0, 2)), "expected features (B, T, 2), got (2, 0, 2)"),
    ],
)
def test_vectors_that_do_not_fit(tmp_path, source, inputs, problem):
    """Vectors of another shape are refused."""
    if inputs is not None:
        np.save(tmp_path / "x.npy", inputs)
    np.save(tmp_path / "y.npy", np.ones((2, 4, 3)))
    checks = ["--check-inputs", str(tmp_path / "x.npy"), "--check-outputs", str(tmp_path / "y.npy")]
    assert problem in refusal(source, tmp_path / "models", *checks)


def test_vectors_need_both_files(tmp_path, source):
    """Inputs without outputs are no vectors."""
    np.save(tmp_path / "x.npy", np.ones((1, 4, 2)))
    assert "vectors need both" in refusal(
        source, tmp_path / "models", "--check-inputs", str(tmp_path / "x.npy")
    )


def test_ids_outside_the_vocabulary(tmp_path):
    """Vectors of tokens that the model does not have are refused."""
    torch.save(seeded(LanguageModel()).state_dict(), tmp_path / "lm.pt")
    np.save(tmp_path / "x.npy", np.array([[0, VOCABULARY]]))
    np.save(tmp_path / "y.npy", np.ones((1, 2, VOCABULARY)))
    checks = ["--check-inputs", str(tmp_path / "x.npy"), "--check-outputs", str(tmp_path / "y.npy")]
    line = refusal(tmp_path / "lm.pt", tmp_path / "models", *WORDS, *checks)
    assert "expected ids from 0 to 22, got 0 to 23" in line
