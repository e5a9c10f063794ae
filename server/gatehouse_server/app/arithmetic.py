"""How this server computes, from its settings and the device that it found."""

from __future__ import annotations

import os

import torch

from gatehouse_server.app.failure import CannotStartError
from gatehouse_server.network.arithmetic import ON_CPU, Arithmetic
from gatehouse_server.settings import Settings


def choose_arithmetic(settings: Settings, device: str) -> Arithmetic:
    """What the settings ask for. Raises CannotStartError when the device, `cpu` or `cuda`, has no use for it."""
    precision = settings.precision
    if device == "cpu":
        if precision not in ON_CPU:
            raise CannotStartError(
                f"--precision {precision} is for a GPU: a CPU takes twice as long for it as for float32. "
                f"On a CPU there are {' and '.join(ON_CPU)}"
            )
        if settings.tf32:
            raise CannotStartError("--tf32 is for a GPU, and this server computes on a CPU")
    if settings.tf32 and precision != "float32":
        raise CannotStartError(
            f"--tf32 is a way to multiply float32, and does not go with --precision {precision}"
        )
    return Arithmetic(precision=precision, tf32=settings.tf32, reproducible=settings.reproducible)


def prepare_device(device: str, arithmetic: Arithmetic) -> None:
    """Sets what torch keeps for the whole process. To be called before anything is computed on the device."""
    if device == "cpu":
        return
    factors = "tf32" if arithmetic.tf32 else "ieee"
    torch.backends.cuda.matmul.fp32_precision = factors
    # Documents are read in float32 by cuDNN. Where 16 bits were asked for, TF32's 10 bits of a factor are as exact, or
    # more. It is torch's default there.
    precision = "ieee" if arithmetic.name == "float32" else "tf32"
    torch.backends.cudnn.rnn.fp32_precision = precision  # type: ignore[attr-defined]  # torch: no types
    if arithmetic.reproducible:
        # What torch's notes on reproducibility ask for: cuBLAS must not share its workspace among streams, and
        # operators that add in any order are refused.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        # A remedy for reading memory before it is written, which costs a pass over every new tensor.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # no types
