"""ONNX's own test vectors of LSTM, GRU and RNN, through the converter."""

import shutil

import numpy as np
import pytest
import torch

from tests.convert.converting import convert, converted, refusal
from tests.convert.onnx_vectors import onnx_cases

CASES = onnx_cases()


def test_there_are_12_cases():
    """None of the copied vectors is passed over."""
    assert len(CASES) == 12


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_converted_case_answers_what_onnx_expects(tmp_path, case):
    """Outputs of the folder that a conversion makes are the vectors' to 1e-5."""
    network = converted(case.folder, tmp_path / "models").network
    packed, sizes = torch.from_numpy(case.packed), [case.sequences] * case.steps
    outputs = network.encode(packed, sizes).view(case.steps, case.sequences, -1).numpy()
    last = network.summarize(packed, sizes).numpy() if network.spec.pooling else outputs[-1]
    np.testing.assert_allclose(last, case.last, rtol=0, atol=1e-5)
    if case.every is not None:
        np.testing.assert_allclose(outputs, case.every, rtol=0, atol=1e-5)


def test_a_conversion_says_how_far_onnxruntime_is(tmp_path):
    """The source's own reference is run, and its largest difference printed."""
    told = convert(CASES[0].folder, tmp_path / "models")
    assert "onnxruntime" in told
    assert "W is the graph's input W, taken from the test data beside it" in told


def test_weights_that_nobody_gives(tmp_path):
    """A graph whose weights are inputs, without test data beside it, is refused."""
    shutil.copy(CASES[0].folder / "model.onnx", tmp_path / "alone.onnx")
    line = refusal(tmp_path / "alone.onnx", tmp_path / "models")
    assert "W is an input of the graph, not part of the model" in line
