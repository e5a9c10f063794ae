"""Recurrent nodes with every attribute that is converted, compared with onnxruntime on the source's graph."""

import dataclasses

import numpy as np
import onnx
import pytest
import torch
from gatehouse_server.convert.port import ConvertedModel
from onnx import NodeProto, TensorProto, helper
from onnx.external_data_helper import convert_model_to_external_data

from tests.convert.converting import converted
from tests.convert.onnx_agreement import assert_agrees, read
from tests.convert.onnx_graphs import GATES, H, N, graph, one_node, weights


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("layout", [0, 1])
def test_directions_and_layouts(tmp_path, kind, direction, layout):
    """Every cell in every direction, batch or time first; Y and, alone, Y_h."""
    for outputs in (("Y", "Y_h"), ("", "Y_h")):
        path = one_node(tmp_path / "a.onnx", kind, direction=direction, layout=layout, outputs=outputs)
        found = read(path)
        assert found.config.get("pooling") == (None if outputs[0] else ["last"])
        assert_agrees(found)


@pytest.mark.parametrize(
    "attributes",
    [
        {"input_forget": 1},
        {"clip": 0.5},
        {"clip": 1.5, "input_forget": 1},
        {"P": random(1, 3 * H)},
        {"P": random(1, 3 * H), "input_forget": 1, "clip": 1.0},
        {"activations": ["HardSigmoid", "Tanh", "Tanh"]},
        {
            "activations": ["HardSigmoid", "Relu", "Softsign"],
            "activation_alpha": [1 / 6],
            "activation_beta": [0.5],
        },
        {"activations": ["Sigmoid", "Softsign", "Relu"], "clip": 0.8},
        {"activations": ["sigmoid", "tanh", "sigmoid"]},
        {
            "direction": "bidirectional",
            "activations": ["Sigmoid", "Tanh", "Tanh", "HardSigmoid", "Relu", "Softsign"],
            "activation_alpha": [0.2],
            "activation_beta": [0.5],
            "clip": 2.0,
        },
        {"initial_h": random(1, 1, H), "initial_c": random(1, 1, H)},
        {"direction": "bidirectional", "initial_c": random(2, 1, H)},
        {"direction": "bidirectional", "P": random(2, 3 * H), "initial_h": random(2, 1, H), "layout": 0},
    ],
    ids=str,
)
def test_what_an_lstm_may_have(tmp_path, attributes):
    """Peepholes, clip, coupled gates, activations of each direction, and states that are constants."""
    path = one_node(tmp_path / "a.onnx", "LSTM", **attributes)
    states = {"initial_h", "initial_c"} & attributes.keys()
    found = read(path)
    assert_agrees(one_at_a_time(found) if states else found)


def one_at_a_time(found: ConvertedModel) -> ConvertedModel:
    """Its reference takes one sequence, as a graph does whose states are of one."""
    assert found.reference is not None
    return dataclasses.replace(found, reference=dataclasses.replace(found.reference, batch_size=1))


@pytest.mark.parametrize("reset", [0, 1])
@pytest.mark.parametrize(
    "attributes",
    [{}, {"clip": 0.7}, {"activations": ["HardSigmoid", "Softsign"]}, {"direction": "bidirectional"}],
    ids=str,
)
def test_what_a_gru_may_have(tmp_path, attributes, reset):
    """Reset before and after the product, with clip, activations and directions."""
    assert_agrees(read(one_node(tmp_path / "a.onnx", "GRU", linear_before_reset=reset, **attributes)))


@pytest.mark.parametrize("activation", ["Tanh", "Relu", "Sigmoid", "Softsign"])
def test_what_a_simple_cell_may_have(tmp_path, activation):
    """Its activations, with and without a clip."""
    for clip in ({}, {"clip": 0.4}):
        path = one_node(tmp_path / "a.onnx", "RNN", activations=[activation], **clip)
        assert_agrees(read(path))


def test_plain_nodes_are_the_quick_cells(tmp_path):
    """An LSTM, a GRU with reset after the product, and a tanh or ReLU cell have no options of their own."""
    for kind, attributes in (("LSTM", {}), ("GRU", {"linear_before_reset": 1}), ("RNN", {})):
        section = read(one_node(tmp_path / "a.onnx", kind, **attributes)).config["recurrent"]
        assert section == {"cell": kind.lower(), "input_size": N, "hidden_size": H, "layers": 1}


def test_states_that_are_inputs_are_the_sessions(tmp_path):
    """initial_h and initial_c as inputs of the graph: said in a note, and not part of the model."""
    node = helper.make_node("LSTM", ["X", "W", "R", "B", "", "h0", "c0"], ["Y"], name="body", hidden_size=H)
    state = (TensorProto.FLOAT, (1, "B", H))
    inputs = {"X": (TensorProto.FLOAT, ("T", "B", N)), "h0": state, "c0": state}
    found = read(graph(tmp_path / "a.onnx", [node], weights("LSTM"), inputs=inputs))
    assert any("initial_h is the graph's input h0: here the session keeps it" in note for note in found.notes)
    assert "initial_state" not in found.config["recurrent"]
    assert_agrees(found)


def test_lengths_that_are_an_input(tmp_path):
    """sequence_lens as an input of the graph is the length of each document."""
    node = helper.make_node("GRU", ["X", "W", "R", "B", "n"], ["Y"], hidden_size=H)
    inputs = {"X": (TensorProto.FLOAT, ("T", "B", N)), "n": (TensorProto.INT32, ("B",))}
    assert_agrees(read(graph(tmp_path / "a.onnx", [node], weights("GRU"), inputs=inputs)))


def chain(*more: NodeProto, kind: str = "LSTM", direction: str = "bidirectional") -> list[NodeProto]:
    """A recurrent node and what follows it."""
    return [
        helper.make_node(kind, ["X", "W", "R", "B"], ["y", "y_h"], hidden_size=H, direction=direction),
        *more,
    ]


def test_merges_of_two_directions(tmp_path):
    """Directions split and concatenated, added, multiplied or averaged are our merges."""
    parts = [
        helper.make_node("Split", ["y"], ["a", "b"], axis=1, num_outputs=2),
        helper.make_node("Squeeze", ["a", "one"], ["f"]),
        helper.make_node("Squeeze", ["b", "one"], ["r"]),
    ]
    constants = weights("LSTM", directions=2) | {
        "one": np.array([1]),
        "two": np.float32(2),
        "half": np.float32(0.5),
    }
    joins = {
        "concat": [helper.make_node("Concat", ["f", "r"], ["Y"], axis=-1)],
        "sum": [helper.make_node("Add", ["r", "f"], ["Y"])],
        "multiply": [helper.make_node("Mul", ["f", "r"], ["Y"])],
        "average": [helper.make_node("Add", ["f", "r"], ["s"]), helper.make_node("Div", ["s", "two"], ["Y"])],
    }
    for merge, join in joins.items():
        found = read(graph(tmp_path / "a.onnx", chain(*parts, *join), constants, opset=18))
        assert found.config["recurrent"]["merge"] == merge
        assert_agrees(found)
    halved = [joins["average"][0], helper.make_node("Mul", ["s", "half"], ["Y"])]
    found = read(graph(tmp_path / "a.onnx", chain(*parts, *halved), constants, opset=18))
    assert found.config["recurrent"]["merge"] == "average"


def test_two_nodes_that_are_two_directions(tmp_path):
    """A forward and a reverse node on the same data, concatenated, are one layer; the next one reads both."""
    one, other = weights("GRU", seed=1), weights("GRU", seed=2)
    top = weights("GRU", inputs=2 * H, seed=3)
    constants = {f"{name}1": value for name, value in one.items()}
    constants |= {f"{name}2": value for name, value in other.items()}
    constants |= {f"{name}3": value for name, value in top.items()} | {"axes": np.array([1])}
    nodes = [
        helper.make_node("GRU", ["X", "W1", "R1", "B1"], ["f4"], hidden_size=H),
        helper.make_node("GRU", ["X", "W2", "R2", "B2"], ["r4"], hidden_size=H, direction="reverse"),
        helper.make_node("Squeeze", ["f4", "axes"], ["f"]),
        helper.make_node("Squeeze", ["r4", "axes"], ["r"]),
        helper.make_node("Concat", ["f", "r"], ["both"], axis=2),
        helper.make_node("GRU", ["both", "W3", "R3", "B3"], ["Y"], hidden_size=H, linear_before_reset=1),
    ]
    found = read(graph(tmp_path / "a.onnx", nodes, constants))
    assert [layer.get("direction") for layer in found.config["recurrent"]["layers"]] == ["both", None]
    assert_agrees(found)


def heads() -> dict[str, tuple[str | None, list[NodeProto]]]:
    squeeze = helper.make_node("Squeeze", ["y", "one"], ["h"])
    product = helper.make_node("MatMul", ["h", "V"], ["z"])
    added = helper.make_node("Add", ["z", "v"], ["l"])
    flat = helper.make_node("Reshape", ["h", "rows"], ["flat"])
    gemm = helper.make_node("Gemm", ["flat", "VT", "v"], ["lf"], transB=1)
    back = [
        helper.make_node("Shape", ["h"], ["sizes"]),
        helper.make_node("Slice", ["sizes", "zero", "two"], ["front"]),
        helper.make_node("Concat", ["front", "outputs"], ["target"], axis=0),
        helper.make_node("Reshape", ["lf", "target"], ["l"]),
    ]
    dense = [squeeze, product, added]
    return {
        "linear": (None, [*dense, helper.make_node("Identity", ["l"], ["Y"])]),
        "softmax": ("softmax", [*dense, helper.make_node("Softmax", ["l"], ["Y"], axis=-1)]),
        "log softmax": ("softmax", [*dense, helper.make_node("LogSoftmax", ["l"], ["Y"], axis=2)]),
        "sigmoid": ("sigmoid", [*dense, helper.make_node("Sigmoid", ["l"], ["Y"])]),
        "gemm": ("softmax", [squeeze, flat, gemm, *back, helper.make_node("Softmax", ["l"], ["Y"])]),
        "flat": ("softmax", [squeeze, flat, gemm, helper.make_node("Softmax", ["lf"], ["Y"])]),
    }


@pytest.mark.parametrize("name", heads())
def test_dense_layers_and_their_scores(tmp_path, name):
    """MatMul and Add or Gemm, of every step, with Softmax, LogSoftmax, Sigmoid or nothing behind it."""
    kind, more = heads()[name]
    V = random(H, 5)
    constants = weights("LSTM") | {
        "V": V,
        "VT": np.ascontiguousarray(V.T),
        "v": random(5),
        "one": np.array([1]),
    }
    constants |= {
        "zero": np.array([0]),
        "two": np.array([2]),
        "rows": np.array([-1, H]),
        "outputs": np.array([5]),
    }
    found = read(graph(tmp_path / "a.onnx", chain(*more, direction="forward"), constants))
    assert found.config["head"] == ({} if kind is None else {"kind": kind}) | {"size": 5, "bias": True}
    assert_agrees(found)


def test_an_encoder_of_a_graph_with_a_head(tmp_path):
    """--as encoder serves what the recurrent nodes hand on, and compares that with onnxruntime, too."""
    _, more = heads()["softmax"]
    constants = weights("LSTM") | {"V": random(H, 5), "v": random(5), "one": np.array([1])}
    path = graph(tmp_path / "a.onnx", chain(*more, direction="forward"), constants)
    found = read(path, as_encoder=True)
    assert found.left_out == ("node z (MatMul)",)
    assert_agrees(found)
    assert converted(path, tmp_path / "models", "--as", "encoder").config.task == "encoder"


def test_data_beside_the_model(tmp_path):
    """External data is read from a file in the model's folder."""
    model = onnx.load(one_node(tmp_path / "whole.onnx", "GRU"))
    expected = read(tmp_path / "whole.onnx").parameters
    convert_model_to_external_data(model, location="weights.bin", size_threshold=0)
    onnx.save(model, tmp_path / "outside.onnx")
    found = read(tmp_path / "outside.onnx")
    assert all(torch.equal(found.parameters[name], expected[name]) for name in expected)
    assert_agrees(found)
