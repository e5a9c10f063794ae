"""ONNX files for tests: graphs put together node by node, and torch modules exported by torch itself."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
N, H = 3, 4


def weights(
    kind: str, *, inputs: int = N, hidden: int = H, directions: int = 1, seed: int = 0
) -> dict[str, np.ndarray]:
    """W, R and B of a node, large enough to saturate gates now and then."""
    rng, rows = np.random.default_rng(seed), GATES[kind] * hidden
    shapes = {"W": (directions, rows, inputs), "R": (directions, rows, hidden), "B": (directions, 2 * rows)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def graph(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, np.ndarray],
    *,
    inputs: Mapping[str, tuple[int, Sequence[int | str]]] | None = None,
    outputs: Sequence[str] = ("Y",),
    opset: int = 17,
) -> Path:
    """A model of these nodes. Its input is X (T, B, N), unless told otherwise."""
    given = inputs or {"X": (TensorProto.FLOAT, ("T", "B", N))}
    made = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(name, kind, list(shape)) for name, (kind, shape) in given.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def one_node(
    path: Path, kind: str, *, outputs: Sequence[str] = ("Y",), seed: int = 0, **attributes: Any
) -> Path:
    """A graph of one recurrent node with random weights; `P`, `initial_h` and `initial_c` may be among `attributes`."""
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    constants = weights(kind, directions=directions, seed=seed)
    names = ["X", "W", "R", "B", "", "", "", ""]
    for place, name in ((5, "initial_h"), (6, "initial_c"), (7, "P")):
        if name in attributes:
            constants[name] = attributes.pop(name)
            names[place] = name
    while not names[-1]:
        names.pop()
    node = helper.make_node(kind, names, list(outputs), name="body", hidden_size=H, **attributes)
    shape = ("B", "T", N) if attributes.get("layout") else ("T", "B", N)
    opset = 17 if attributes.get("layout") else 14
    return graph(
        path,
        [node],
        constants,
        inputs={"X": (TensorProto.FLOAT, shape)},
        outputs=[name for name in outputs if name],
        opset=opset,
    )


def exported(
    path: Path, module: nn.Module, example: torch.Tensor | tuple[torch.Tensor, ...], **options: Any
) -> Path:
    """A module as torch's exporter writes it. The first two dimensions may differ from run to run, unless told."""
    examples = example if isinstance(example, tuple) else (example,)
    with warnings.catch_warnings():
        # It is announced to go, and warns of batches; the files that it wrote stay.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            examples,
            path,
            dynamo=False,
            input_names=["x", "h", "c"][: len(examples)],
            **{"opset_version": 17, "dynamic_axes": {"x": {0: "first", 1: "second"}}, **options},
        )
    return path
