"""ONNX files that can't be converted: one line that names node and attribute, nothing written."""

import re
import shutil
import sys

import gatehouse_server.convert
import numpy as np
import onnx
import pytest
import torch
from gatehouse_server.convert.onnx_source import OnnxSource
from gatehouse_server.convert.port import SourceOptions
from onnx import helper, numpy_helper

from tests.convert.converting import refusal
from tests.convert.onnx_graphs import H, N, graph, one_node, weights


def refused(tmp_path, path, *options):
    """The line, with `tmp_path` left out of it."""
    return refusal(path, tmp_path / "models", *options).replace(str(tmp_path), "")


def changed(tmp_path, change, kind="LSTM", **attributes):
    """The line for a graph of one node, after `change(model)`."""
    path = one_node(tmp_path / "a.onnx", kind, **attributes)
    model = onnx.load(path)
    change(model)
    path.write_bytes(model.SerializeToString())
    return refused(tmp_path, path)


def random(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("kind", "attributes", "told"),
    [
        (
            "LSTM",
            {"activations": ["Affine", "Tanh", "Tanh"]},
            "node body (LSTM): attribute activations has Affine",
        ),
        ("LSTM", {"activations": ["Sigmoid", "ScaledTanh", "Tanh"]}, "attribute activations has ScaledTanh"),
        (
            "LSTM",
            {"activations": ["Sigmoid", "Tanh", "HardSigmoid"]},
            "attribute activations has HardSigmoid",
        ),
        (
            "GRU",
            {"activations": ["Sigmoid", "LeakyRelu"]},
            "node body (GRU): attribute activations has LeakyRelu",
        ),
        ("GRU", {"activations": ["Tanh", "Tanh"]}, "attribute activations has Tanh for gates"),
        ("RNN", {"activations": ["Elu"]}, "node body (RNN): attribute activations has Elu"),
        ("LSTM", {"activations": ["Sigmoid", "Tanh"]}, "attribute activations has 2 entries, expected 3"),
        (
            "GRU",
            {"activations": ["HardSigmoid", "Tanh"], "activation_alpha": [0.3]},
            "attributes activation_alpha 0.3 and activation_beta 0.5 of HardSigmoid",
        ),
        (
            "GRU",
            {"activations": ["HardSigmoid", "Tanh"], "activation_beta": [0.4]},
            "activation_beta 0.4 of HardSigmoid",
        ),
        ("LSTM", {"activation_alpha": [0.2]}, "attribute activation_alpha has more values than"),
        ("LSTM", {"clip": 0.0}, "attribute clip is 0.0"),
        ("LSTM", {"clip": -1.0}, "attribute clip is -1.0"),
        ("LSTM", {"clip": float("nan")}, "attribute clip is nan"),
        ("LSTM", {"direction": "sideways"}, "attribute direction is 'sideways'"),
        ("LSTM", {"layout": 2}, "attribute layout is 2"),
        ("RNN", {"linear_before_reset": 1}, "attribute linear_before_reset is not known"),
        ("LSTM", {"output_sequence": 1}, "attribute output_sequence is not known"),
        ("LSTM", {"P": random(1, H)}, "P has shape (1, 4), expected (1, 12)"),
        ("LSTM", {"initial_h": random(1, 3, H)}, "initial_h differs between the sequences of a batch"),
        ("LSTM", {"initial_h": random(1, 1, H + 1)}, "initial_h has shape (1, 5), expected (1, 4)"),
    ],
)
def test_attributes_and_inputs_of_a_node(tmp_path, kind, attributes, told):
    """What no cell computes is refused by the names of node and attribute."""
    assert told in refused(tmp_path, one_node(tmp_path / "a.onnx", kind, **attributes))


def test_a_clip_of_one_direction_alone(tmp_path):
    """Directions that are two nodes may differ only in what a layer may have twice."""
    one = weights("GRU")
    nodes = [
        helper.make_node("GRU", ["X", "W", "R", "B"], ["f4"], name="f", hidden_size=H, clip=1.0),
        helper.make_node("GRU", ["X", "W", "R", "B"], ["r4"], name="r", hidden_size=H, direction="reverse"),
        helper.make_node("Squeeze", ["f4", "axes"], ["f"]),
        helper.make_node("Squeeze", ["r4", "axes"], ["r"]),
        helper.make_node("Concat", ["f", "r"], ["Y"], axis=2),
    ]
    path = graph(tmp_path / "a.onnx", nodes, one | {"axes": np.array([1])})
    assert "its forward direction has gate_clip 1.0, its reverse direction none" in refused(tmp_path, path)


def body(*more, **attributes):
    """An LSTM and nodes behind it."""
    node = helper.make_node(
        "LSTM", ["X", "W", "R", "B"], ["y", "y_h"], name="body", hidden_size=H, **attributes
    )
    squeeze = helper.make_node("Squeeze", ["y", "one"], ["h"], name="squeeze")
    return [node, squeeze, *more]


CONSTANTS = {
    "one": np.array([1]),
    "zero": np.array([0]),
    "V": random(H, 5),
    "U": random(5, 2),
    "v": random(5),
    "scale": np.float32(2.0),
}


@pytest.mark.parametrize(
    ("nodes", "named"),
    [
        ([helper.make_node("Relu", ["h"], ["Y"], name="odd")], "node odd (Relu)"),
        ([helper.make_node("Mul", ["h", "scale"], ["Y"], name="odd")], "node odd (Mul)"),
        (
            [helper.make_node("LayerNormalization", ["h", "v"], ["Y"], name="odd")],
            "node odd (LayerNormalization)",
        ),
        ([helper.make_node("Mine", ["h"], ["Y"], name="odd", domain="my.own")], "node odd (my.own.Mine)"),
        ([helper.make_node("Softmax", ["h"], ["Y"], name="odd")], "node odd (Softmax)"),
        (
            [
                helper.make_node("Transpose", ["h"], ["t"]),
                helper.make_node("MatMul", ["V", "h"], ["Y"], name="odd"),
            ],
            "odd",
        ),
        (
            [
                helper.make_node("MatMul", ["h", "V"], ["z"]),
                helper.make_node("MatMul", ["z", "U"], ["Y"], name="odd"),
            ],
            "node odd (MatMul)",
        ),
        (
            [
                helper.make_node("MatMul", ["h", "V"], ["z"]),
                helper.make_node("Softmax", ["z"], ["Y"], name="odd", axis=0),
            ],
            "node odd (Softmax)",
        ),
        (
            [
                helper.make_node("MatMul", ["h", "V"], ["z"]),
                helper.make_node("Tanh", ["z"], ["Y"], name="odd"),
            ],
            "node odd (Tanh)",
        ),
        ([helper.make_node("Slice", ["h", "one", "zero"], ["Y"], name="odd")], "node odd (Slice)"),
        ([helper.make_node("Gather", ["h", "zero"], ["Y"], name="odd", axis=0)], "node odd (Gather)"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_lies_behind_is_named(tmp_path, nodes, named):
    """Operators that nothing here computes, or not so, are named with the offer to leave them out."""
    path = graph(tmp_path / "a.onnx", body(*nodes), weights("LSTM") | CONSTANTS)
    line = refused(tmp_path, path)
    assert "cannot serve " in line
    assert named in line
    assert "--as encoder" in line


def test_what_lies_before_is_named(tmp_path):
    """A convolution below the recurrent layers; as an encoder they are served without it, and not compared."""
    kernel = random(N, N, 3)
    nodes = [
        helper.make_node("Conv", ["X", "K"], ["c"], name="conv", pads=[1, 1]),
        helper.make_node("LSTM", ["c", "W", "R", "B"], ["Y"], name="body", hidden_size=H),
    ]
    path = graph(tmp_path / "a.onnx", nodes, weights("LSTM") | {"K": kernel})
    assert "cannot serve node conv (Conv)" in refused(tmp_path, path)
    found = OnnxSource().read(path, SourceOptions(as_encoder=True))
    assert found.left_out == ("node conv (Conv)",)
    assert found.reference is None
    assert any(note.startswith("not compared with onnxruntime") for note in found.notes)


@pytest.mark.parametrize(
    ("nodes", "told"),
    [
        ([helper.make_node("Relu", ["X"], ["Y"])], "the graph has no LSTM, GRU or RNN node"),
        (
            body(helper.make_node("Relu", ["X"], ["Y"], name="aside")),
            "cannot serve node aside (Relu)",
        ),
        (
            body(helper.make_node("LSTM", ["h", "W", "R", "B", "", "y_h"], ["Y"], name="top", hidden_size=H)),
            "node top (LSTM): initial_h is made from other data",
        ),
        (
            body(helper.make_node("LSTM", ["h", "W", "R2", "B"], ["Y"], name="top", hidden_size=H)),
            "node top (LSTM): X has 4 values a step, W is for 3",
        ),
        (
            [
                helper.make_node("Transpose", ["X"], ["x"], perm=[0, 2, 1]),
                helper.make_node("LSTM", ["x", "W", "R", "B"], ["y"], name="low", hidden_size=H),
                helper.make_node("Squeeze", ["y", "one"], ["h"]),
                helper.make_node("Transpose", ["h"], ["t"], perm=[1, 0, 2]),
                helper.make_node("LSTM", ["t", "W4", "R", "B"], ["Y"], name="top", hidden_size=H),
            ],
            "node top (LSTM): X is not the steps of what lies below it",
        ),
        (
            [helper.make_node("LSTM", ["X", "scaled", "R", "B"], ["Y"], name="body", hidden_size=H)],
            "body (LSTM) reads scaled, which nothing makes",
        ),
        (
            [
                helper.make_node("Mul", ["W", "scale"], ["scaled"], name="scaling"),
                helper.make_node("LSTM", ["X", "scaled", "R", "B"], ["Y"], name="body", hidden_size=H),
            ],
            "node body (LSTM): W is computed by node scaling (Mul)",
        ),
        (
            [helper.make_node("LSTM", ["X", "W", "R", "B", "lengths"], ["Y"], name="body", hidden_size=H)],
            "node body (LSTM): sequence_lens is a constant",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_graphs_that_are_no_chain(tmp_path, nodes, told):
    """The node in the way, and what of it."""
    constants = weights("LSTM") | CONSTANTS
    constants |= {"R2": constants["R"], "W4": random(1, 4 * H, H), "lengths": np.array([3, 2], np.int32)}
    assert told in refused(tmp_path, graph(tmp_path / "a.onnx", nodes, constants))


def test_weights_of_other_types_and_shapes(tmp_path):
    """float64 weights, matrices that do not fit each other, and sparse ones."""

    def doubled(model):
        (index,) = (place for place, each in enumerate(model.graph.initializer) if each.name == "W")
        array = numpy_helper.to_array(model.graph.initializer[index]).astype(np.float64)
        model.graph.initializer[index].CopyFrom(numpy_helper.from_array(array, "W"))

    def narrower(model):
        (index,) = (place for place, each in enumerate(model.graph.initializer) if each.name == "W")
        array = numpy_helper.to_array(model.graph.initializer[index])[:, :-1]
        model.graph.initializer[index].CopyFrom(numpy_helper.from_array(array.copy(), "W"))

    def another_size(model):
        next(each for each in model.graph.node[0].attribute if each.name == "hidden_size").i = 9

    assert "W: is of type DOUBLE; export the model in float32" in changed(tmp_path, doubled)
    assert "W has shape (1, 15, 3), expected (1, 16, 3)" in changed(tmp_path, narrower)
    assert "attribute hidden_size is 9, R is for 4" in changed(tmp_path, another_size)


@pytest.mark.parametrize(
    ("attribute", "says"),
    [
        ({"activations": 3}, "attribute activations is of type INT, expected STRINGS"),
        ({"clip": [1.0, 2.0]}, "attribute clip is of type FLOATS, expected FLOAT"),
        ({"activation_alpha": "x"}, "attribute activation_alpha is of type STRING, expected FLOATS"),
        ({"direction": ["forward"]}, "attribute direction is of type STRINGS, expected STRING"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_attributes_of_another_type(tmp_path, attribute, says):
    """Told by what ONNX says of the operator, before anything is made of them."""
    assert f"node body (LSTM): {says}" in refused(
        tmp_path, one_node(tmp_path / "a.onnx", "LSTM", **attribute)
    )


@pytest.mark.parametrize("grows", ["Concat", "Gather", "Add", "Tile"])
def test_a_graph_that_grows_is_not_computed(tmp_path, grows):
    """A few nodes that multiply a constant are refused before memory is asked for what they make."""
    place = {
        "shape": np.array([2**24]),
        "many": np.zeros(2**10, np.int64),
        "column": np.zeros((2**10, 1), np.int64),
    }
    node = {
        "Concat": helper.make_node("Concat", ["big"] * 1000, ["Wx"], name="odd", axis=0),
        "Gather": helper.make_node("Gather", ["rows", "many"], ["Wx"], name="odd", axis=0),
        "Add": helper.make_node("Add", ["big", "column"], ["Wx"], name="odd"),
        "Tile": helper.make_node("Tile", ["big", "times"], ["Wx"], name="odd"),
    }[grows]
    one = np.array([1], np.int64)
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["big"], value=numpy_helper.from_array(one)),
        helper.make_node("Reshape", ["big", "across"], ["rows"]),
        node,
        helper.make_node("LSTM", ["X", "Wx", "R", "B"], ["Y"], name="body", hidden_size=H),
    ]
    more = {"across": np.array([1, -1]), "times": np.array([1000])}
    path = graph(tmp_path / "a.onnx", nodes, weights("LSTM") | place | more)
    assert re.search(
        rf"node odd \({grows}\): the graph makes 1\d,\d+,\d+,\d+ numbers", refused(tmp_path, path)
    )


def test_many_nodes_that_make_much_together(tmp_path):
    """Each is within bounds, and all together are not."""
    made = [helper.make_node("ConstantOfShape", ["shape"], [f"c{number}"]) for number in range(40)]
    made.append(helper.make_node("LSTM", ["X", "W", "R", "B"], ["Y"], name="body", hidden_size=H))
    path = graph(tmp_path / "a.onnx", made, weights("LSTM") | {"shape": np.array([2**23])})
    assert "up to node c32 (ConstantOfShape): the graph makes 276,824,064 numbers" in refused(tmp_path, path)


@pytest.mark.parametrize("axis", [0, 1], ids=["steps", "sequences"])
def test_a_graph_for_absurdly_many(tmp_path, axis):
    """Sizes that the graph fixes are those that it is compared with, as far as that can be."""

    def fixed(model):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = 2**40

    told = ("3 sequences of 1,099,511,627,776 steps", "1,099,511,627,776 sequences of 20 steps")[axis]
    assert f"would have to read {told}" in changed(tmp_path, fixed)


def test_a_reference_that_differs(tmp_path, monkeypatch):
    """A conversion whose numbers are not onnxruntime's fails, and leaves nothing."""
    from gatehouse_server.convert import onnx_recurrent

    ordered = onnx_recurrent._ordered
    monkeypatch.setattr(
        onnx_recurrent, "_ordered", lambda kind, rows, options: ordered(kind, rows, options) + 1e-3
    )
    line = refused(tmp_path, one_node(tmp_path / "a.onnx", "GRU"))
    assert "answers differ from onnxruntime" in line


def test_a_graph_that_onnxruntime_cannot_load(tmp_path):
    """What is left over in a graph must be valid, too."""

    def aside(model):
        model.graph.node.append(helper.make_node("Nonsense", ["X"], ["unused"], name="odd"))

    assert "onnxruntime cannot load it" in changed(tmp_path, aside)


def test_options_of_other_sources(tmp_path):
    """What a graph tells itself can't be told otherwise."""
    path = one_node(tmp_path / "a.onnx", "RNN")
    assert "--activation relu: an ONNX graph tells its layers itself" in refused(
        tmp_path, path, "--activation", "relu"
    )


def test_no_onnx(tmp_path, monkeypatch):
    """Without the extra, the line says what to install."""
    path = one_node(tmp_path / "a.onnx", "RNN")
    monkeypatch.delitem(sys.modules, "gatehouse_server.convert.onnx_file", raising=False)
    monkeypatch.delattr(gatehouse_server.convert, "onnx_file", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert "pip install 'gatehouse[onnx]'" in refused(tmp_path, path)


def test_no_onnxruntime(tmp_path, monkeypatch):
    """Without it a model converts, and the notes say that nothing was compared."""
    path = one_node(tmp_path / "a.onnx", "RNN")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    found = OnnxSource().read(path, SourceOptions())
    assert found.reference is None
    assert "not compared with onnxruntime, which is not installed" in found.notes


def test_test_data_of_another_shape(tmp_path):
    """Weights from the test data beside a model are checked as any."""
    from tests.convert.onnx_vectors import FOLDER

    shutil.copytree(FOLDER / "test_gru_defaults", tmp_path / "odd")
    wrong = numpy_helper.from_array(torch.zeros(1, 2, 2).numpy(), "W")
    (tmp_path / "odd/test_data_set_0/input_1.pb").write_bytes(wrong.SerializeToString())
    assert "W has shape (1, 2, 2), expected (1, 15, 2)" in refused(tmp_path, tmp_path / "odd")
