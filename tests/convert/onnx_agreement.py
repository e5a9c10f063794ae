"""What the ONNX source makes of a file, compared with onnxruntime on the source's own graph."""

from pathlib import Path
from typing import Any

import torch
from gatehouse_server.convert.onnx_source import OnnxSource
from gatehouse_server.convert.port import ConvertedModel, SourceOptions

from tests.convert.networks import network_of


def read(path: Path, **options: object) -> ConvertedModel:
    """What the ONNX source makes of a file."""
    return OnnxSource().read(path, SourceOptions(**options))  # type: ignore[arg-type]


def assert_agrees(found: ConvertedModel, inputs: torch.Tensor | None = None) -> None:
    """What the network hands on is what onnxruntime answers for the source, to 1e-5."""
    network, reference = network_of(found), found.reference
    assert reference is not None
    if inputs is None:
        generator = torch.Generator().manual_seed(0)
        shape = (reference.batch_size, reference.steps)
        told: Any = found.config["input"]
        inputs = (
            torch.randint(told["vocabulary_size"], shape, generator=generator)
            if told["kind"] == "tokens"
            else 2 * torch.randn((*shape, told["size"]), generator=generator)
        )
    B, T = inputs.shape[:2]
    packed, sizes = inputs.transpose(0, 1).flatten(0, 1).contiguous(), [B] * T
    pools = bool(network.spec.pooling)
    answered = network.summarize(packed, sizes) if pools else network.encode(packed, sizes).clone()
    if network.head is not None:
        answered = network.head.logits(answered)[:, : network.head.size]
        if reference.form == "scores":
            answered = answered.sigmoid() if network.head.kind == "sigmoid" else answered.softmax(dim=1)
        if reference.form == "log_scores":
            answered = answered.log_softmax(dim=1)
    if not pools:
        answered = answered.view(T, B, -1).transpose(0, 1)
    expected = reference.run(inputs)
    torch.testing.assert_close(answered, expected, rtol=0, atol=1e-5 * max(1.0, float(expected.abs().max())))
