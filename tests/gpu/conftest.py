"""What the tests on a GPU have in common."""

import os

import pytest
import torch
from gatehouse_server.app.arithmetic import prepare_device
from gatehouse_server.network.arithmetic import FLOAT32

# cuBLAS reads it when it begins, which is before the first test that asks for reproducible answers.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@pytest.fixture
def device():
    """The GPU, in the state that a server with the default settings leaves it in; so it is left, too."""
    prepare_device("cuda", FLOAT32)
    yield torch.device("cuda")
    prepare_device("cuda", FLOAT32)
    torch.use_deterministic_algorithms(False)
