"""What the settings of precision mean on either device, and what they are refused for."""

import os
import time

import pytest
import torch
from gatehouse_server.app.arithmetic import choose_arithmetic, prepare_device
from gatehouse_server.app.failure import CannotStartError
from gatehouse_server.app.model_loading import load_models
from gatehouse_server.engine.observer import SilentObserver
from gatehouse_server.engine.policy import OnlineBatching
from gatehouse_server.network.arithmetic import Arithmetic
from gatehouse_server.sessions.hosting import host
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.settings import Settings
from structlog.testing import capture_logs

from tests.tiny import write_tiny_keyboard


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_sixteen_bits_are_for_a_gpu(precision):
    """A CPU refuses them, and says what there is for it instead."""
    settings = Settings(precision=precision)
    with pytest.raises(CannotStartError, match=f"--precision {precision} is for a GPU.*float32 and int8"):
        choose_arithmetic(settings, "cpu")
    assert choose_arithmetic(settings, "cuda") == Arithmetic(precision=precision)


def test_tf32_is_for_float32_on_a_gpu():
    """Anywhere else it would silently mean nothing, so it is refused."""
    with pytest.raises(CannotStartError, match="--tf32 is for a GPU"):
        choose_arithmetic(Settings(tf32=True), "cpu")
    with pytest.raises(CannotStartError, match=r"--tf32 .* --precision bfloat16"):
        choose_arithmetic(Settings(tf32=True, precision="bfloat16"), "cuda")
    with pytest.raises(ValueError, match="expected precision float32"):
        Arithmetic(tf32=True, precision="int8")
    assert choose_arithmetic(Settings(tf32=True), "cuda").name == "tf32"
    assert choose_arithmetic(Settings(), "cuda") == Arithmetic()


@pytest.fixture
def _torch_as_before(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    kept = torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.rnn.fp32_precision
    fills = torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.rnn.fp32_precision = kept
    torch.utils.deterministic.fill_uninitialized_memory = fills
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("_torch_as_before")
def test_a_gpu_is_prepared_as_torch_documents():
    """TF32 is off unless asked for; reproducible answers need a workspace of cuBLAS and deterministic algorithms."""
    prepare_device("cuda", Arithmetic(tf32=True))
    assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    assert torch.backends.cudnn.rnn.fp32_precision == "tf32"
    assert not torch.are_deterministic_algorithms_enabled()
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    prepare_device("cuda", Arithmetic(reproducible=True))
    assert torch.backends.cuda.matmul.fp32_precision == "ieee"
    assert torch.backends.cudnn.rnn.fp32_precision == "ieee"
    assert torch.are_deterministic_algorithms_enabled()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    prepare_device("cuda", Arithmetic(precision="float16"))
    assert torch.backends.cuda.matmul.fp32_precision == "ieee"
    assert torch.backends.cudnn.rnn.fp32_precision == "tf32"


@pytest.mark.usefixtures("_torch_as_before")
def test_a_cpu_is_left_as_it_is():
    """Its answers are reproducible without torch's help."""
    prepare_device("cpu", Arithmetic(reproducible=True))
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_sessions_belong_to_their_arithmetic_and_the_log_tells_it(tmp_path, precision):
    """The fingerprint that a session keeps names a precision other than float32; the log names it, and whether
    answers proved to be reproducible.
    """
    write_tiny_keyboard(tmp_path / "keyboard" / "1")
    settings = Settings(models=(tmp_path,), embedded_models=False, precision=precision)
    with capture_logs() as lines:
        model = load_models(settings, "cpu").get("keyboard")
    (line,) = [line for line in lines if line["event"] == "model loaded"]
    assert (line["arithmetic"], line["reproducible"]) == (precision, True)
    hosted = host(
        model,
        limits=SessionLimits(max_live_sessions=3),
        batching=OnlineBatching(),
        observer=SilentObserver(),
        clock=time.monotonic,
    )
    suffix = "" if precision == "float32" else f"+{precision}"
    assert hosted.fingerprint == model.fingerprint + suffix
