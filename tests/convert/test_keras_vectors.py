"""Vectors that Keras 2 computed, through the converter: both forms of files, every case."""

import numpy as np
import pytest
import torch
from gatehouse_server.convert.keras_source import KerasSource
from gatehouse_server.convert.port import SourceOptions
from gatehouse_server.models.model import LoadedModel

from tests.convert.converting import converted
from tests.convert.keras_models import write_h5, write_keras
from tests.convert.keras_oracle import KerasOracle
from tests.convert.keras_vectors import KerasCase, keras_cases

CASES = keras_cases()


def answer(model: LoadedModel, case: KerasCase) -> np.ndarray:
    """What the converted model says, in Keras's order of steps."""
    inputs, steps = torch.from_numpy(case.inputs), len(case.inputs)
    network = model.network
    outputs: np.ndarray
    if case.config["stateful"]:
        state = network.layout.zeros(1)
        fed = inputs.flip(0).contiguous() if case.config["go_backwards"] else inputs
        for _ in range(2):
            outputs = network.scan(fed, [1] * steps, state).numpy().copy()
        return outputs if case.config["return_sequences"] else outputs[-1]
    if model.config.pooling:
        return network.summarize(inputs, [1] * steps)[0].numpy()
    outputs = network.encode(inputs, [1] * steps).numpy()
    return outputs[::-1] if case.config["go_backwards"] else outputs


def test_there_are_35_cases():
    """None of the copied vectors is passed over."""
    assert len(CASES) == 35
    assert sum(case.config["stateful"] for case in CASES) == 12


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_converted_case_answers_what_keras_answered(tmp_path, case):
    """Outputs of the folder that a conversion makes are the vectors' to 1e-5."""
    path = write_h5(tmp_path / "case.h5", [case.layer], "2.0.5")
    model = converted(path, tmp_path / "models")
    np.testing.assert_allclose(answer(model, case), case.expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_both_forms_of_files_are_the_same_model(tmp_path, case):
    """A `.keras` archive is read as the `.h5` of the same model is."""
    old = KerasSource().read(write_h5(tmp_path / "a.h5", [case.layer], "2.12.0"), SourceOptions())
    new = KerasSource().read(write_keras(tmp_path / "a.keras", [case.layer], "2.12.0"), SourceOptions())
    assert (new.config, new.notes) == (old.config, old.notes)
    assert new.parameters.keys() == old.parameters.keys()
    assert all(torch.equal(new.parameters[name], old.parameters[name]) for name in old.parameters)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_oracle_is_keras(case):
    """The NumPy oracle of the other tests agrees with Keras's own vectors."""
    oracle = KerasOracle([case.layer], keras=2)
    answered = oracle(case.inputs)
    if case.config["stateful"]:
        answered = oracle(case.inputs)
    np.testing.assert_allclose(answered, case.expected, rtol=0, atol=1e-5)
