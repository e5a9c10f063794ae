"""All vectors of ONNX and Keras through a running server: online where a model is causal, offline otherwise."""

import numpy as np
import pytest
from gatehouse import Client, Document

from tests.convert.converting import convert
from tests.convert.keras_models import write_h5
from tests.convert.keras_vectors import KerasCase, keras_cases
from tests.convert.onnx_vectors import onnx_cases
from tests.service.conftest import start, stop

KERAS, ONNX = keras_cases(), onnx_cases()
ONLINE = [
    case for case in KERAS if case.layer.kind != "Bidirectional" and (case.stateful or not case.backwards)
]
OFFLINE = [case for case in KERAS if case not in ONLINE]


def options(case: KerasCase) -> list[str]:
    """Sessions need an output at each step; that at the last one is what Keras hands on."""
    last_step_of_a_forward_layer = case in ONLINE and not case.stateful and not case.every_step
    return ["--pooling", "none"] if last_step_of_a_forward_layer else []


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The folder that the models are converted into."""
    return tmp_path_factory.mktemp("vectors") / "models"


@pytest.fixture(scope="module")
def keras_models(models):
    """All cases of Keras, converted."""
    for case in KERAS:
        source = write_h5(models.with_name(f"{case.model}.h5"), [case.layer])
        convert(source, models, "--name", case.model, *options(case))


@pytest.fixture(scope="module")
def onnx_models(models):
    """All cases of ONNX, converted."""
    for case in ONNX:
        pooling = ["--pooling", "none"] if case.every is None else []
        convert(case.folder, models, "--name", case.name, *pooling)


@pytest.fixture(scope="module")
def client(models, keras_models, onnx_models):
    """A client of one server that has all of them."""
    process, target, _ = start("--models", str(models), "--no-embedded-models")
    with Client(target) as made:
        yield made
    assert stop(process) == 0


def close(answered, expected) -> None:
    np.testing.assert_allclose(np.asarray(answered), expected, rtol=0, atol=1e-5)


def test_every_case_of_keras_converts(models, keras_models):
    """35 folders. The conversions have a test of their own, because together they take a while."""
    assert len(list(models.glob("*/1/config.json"))) == 35


def test_every_case_of_onnx_converts(models, onnx_models):
    """12 more."""
    assert len(list(models.glob("test_*/1/config.json"))) == 12


def test_every_case_is_served_one_way_or_the_other(client):
    """47 models are loaded: 33 run sessions, 14 read whole documents."""
    listed = {model.name: model.online for model in client.list_models()}
    assert len(listed) == 47
    assert {name for name, online in listed.items() if online} == {case.model for case in ONLINE} | {
        case.name for case in ONNX
    }
    assert (len(ONLINE), len(OFFLINE)) == (21, 14)


@pytest.mark.parametrize("case", ONLINE, ids=lambda case: case.name)
def test_a_causal_case_of_keras_online(client, case):
    """What the recurrent layer hands on in a session; a stateful one's second call goes on where the first ended."""
    fed = np.ascontiguousarray(case.inputs[::-1]) if case.backwards else case.inputs
    session = client.session(case.model)
    for _ in range(2 if case.stateful else 1):
        result = session.append(features=fed, hidden=True, every_step=True)
    answered = np.stack([np.asarray(output.hidden) for output in result.outputs])
    close(answered if case.every_step else answered[-1], case.expected)


@pytest.mark.parametrize("case", OFFLINE, ids=lambda case: case.name)
def test_a_case_of_keras_offline(client, case):
    """What the recurrent layers hand on of a document, in one vector or at each step."""
    documents = [Document(id="d", features=case.inputs)]
    (result,) = client.encode(documents, model=case.model, every_step=case.every_step)
    assert result.error is None
    if not case.every_step:
        close(result.hidden, case.expected)
        return
    answered = np.stack([np.asarray(step.hidden) for step in result.steps])
    # Keras hands on a reverse layer's steps in the order in which it made them.
    close(answered[::-1] if case.backwards else answered, case.expected)


@pytest.mark.parametrize("case", ONNX, ids=lambda case: case.name)
def test_a_case_of_onnx_online(client, case):
    """Each sequence of the batch is a session; Y is what it answers at every step, Y_h at the last one."""
    for number in range(case.sequences):
        session = client.session(case.name)
        fed = np.ascontiguousarray(case.inputs[:, number])
        outputs = session.append(features=fed, hidden=True, every_step=True).outputs
        answered = np.stack([np.asarray(output.hidden) for output in outputs])
        close(answered[-1], case.last[number])
        if case.every is not None:
            close(answered, case.every[:, number])
