"""The 12 cases of `vectors/onnx`: a model of one node, its inputs, and what it has to answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

FOLDER = Path(__file__).parent / "vectors" / "onnx"


@dataclass(frozen=True, kw_only=True)
class OnnxCase:
    """`inputs` (T, B, N); `every` (T, B, H), where the node hands it out; `last` (B, H)."""

    folder: Path
    inputs: np.ndarray
    every: np.ndarray | None
    last: np.ndarray

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def steps(self) -> int:
        return len(self.inputs)

    @property
    def sequences(self) -> int:
        return int(self.inputs.shape[1])

    @property
    def packed(self) -> np.ndarray:
        """(T * B, N), all first steps before all second ones."""
        return np.ascontiguousarray(self.inputs.reshape(-1, self.inputs.shape[2]))


def _array(path: Path) -> np.ndarray:
    tensor = onnx.TensorProto()
    tensor.ParseFromString(path.read_bytes())
    return numpy_helper.to_array(tensor).copy()  # its own memory is read-only


def _case(folder: Path) -> OnnxCase:
    (node,) = onnx.load(folder / "model.onnx").graph.node
    batch_first = any(attribute.name == "layout" and attribute.i for attribute in node.attribute)
    data = folder / "test_data_set_0"
    inputs, *outputs = (
        _array(data / "input_0.pb"),
        *(_array(path) for path in sorted(data.glob("output_*.pb"))),
    )
    named = dict(zip([name for name in node.output if name], outputs, strict=True))
    every, last = named.get("Y"), named["Y_h"]
    if batch_first:
        # Y is (B, T, 1, H), Y_h (B, 1, H).
        inputs, last = inputs.transpose(1, 0, 2), last[:, 0]
        every = None if every is None else every.transpose(1, 0, 2, 3)[:, :, 0]
    else:
        last = last[0]
        every = None if every is None else every[:, 0]
    return OnnxCase(folder=folder, inputs=inputs, every=every, last=last)


def onnx_cases() -> list[OnnxCase]:
    """All of them."""
    return [_case(folder) for folder in sorted(FOLDER.glob("test_*"))]
