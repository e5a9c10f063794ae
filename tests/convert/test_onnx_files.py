"""ONNX files that are damaged, or made to harm: one line, nothing written, nothing read that lies elsewhere."""

import numpy as np
import onnx
import pytest
from gatehouse_server.convert.onnx_source import OnnxSource
from gatehouse_server.convert.port import ConversionError, SourceOptions
from onnx import TensorProto, helper, numpy_helper

from tests.convert.converting import refusal
from tests.convert.onnx_graphs import one_node


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


def test_absurd_dimensions(tmp_path):
    """A tensor that declares more than it holds is not allocated."""

    def huge(model):
        weight = next(each for each in model.graph.initializer if each.name == "W")
        weight.dims[:] = [1, 2**40, 2**20]

    assert "numbers, and holds 48" in changed(tmp_path, huge)

    def negative(model):
        weight = next(each for each in model.graph.initializer if each.name == "W")
        weight.dims[:] = [-1, 16, -3]

    assert "holds 48" in changed(tmp_path, negative)

    def filled(model):
        shape = numpy_helper.from_array(np.array([2**20, 2**20, 2**20]), "shape")
        model.graph.initializer.append(shape)
        del model.graph.initializer[0]
        model.graph.node.insert(0, helper.make_node("ConstantOfShape", ["shape"], ["W"], name="filling"))

    assert "node filling (ConstantOfShape): the graph makes 1,152,921,504,606,846,976" in changed(
        tmp_path, filled
    )


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("../secret.bin", "outside of the model's folder"),
        ("/etc/hostname", "outside of the model's folder"),
        ("link.bin", "outside of the model's folder"),
        ("", "outside of the model's folder"),
        ("absent.bin", "which is not there"),
        ("short.bin", "which is shorter than that"),
    ],
)
def test_data_outside_of_the_folder(tmp_path, location, told):
    """External data are read from beside the model alone, symbolic links included."""
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(192))
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    (folder / "short.bin").write_bytes(bytes(10))
    path = one_node(folder / "a.onnx", "LSTM")
    model = onnx.load(path)
    weight = next(each for each in model.graph.initializer if each.name == "W")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "192")):
        entry = weight.external_data.add()
        entry.key, entry.value = key, value
    path.write_bytes(model.SerializeToString())
    assert told in refused(tmp_path, path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_truncated_files(tmp_path, share):
    """A file that ends anywhere is told as such."""
    content = one_node(tmp_path / "whole.onnx", "LSTM").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(content[: int(len(content) * share)])
    line = refused(tmp_path, tmp_path / "cut.onnx")
    assert "bytes are no ONNX file" in line or "it is truncated or no ONNX file" in line or "holds" in line


def test_bytes_changed_anywhere(tmp_path):
    """A damaged file is refused in one line, or its numbers alone are others; nothing else happens."""
    whole = one_node(tmp_path / "whole.onnx", "GRU").read_bytes()
    rng = np.random.default_rng(0)
    path, refusals = tmp_path / "odd.onnx", 0
    for _ in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 4):
            damaged[place] = int(rng.integers(256))
        path.write_bytes(damaged)
        try:
            OnnxSource().read(path, SourceOptions())
        except ConversionError:
            refusals += 1
    assert refusals > 0


def test_something_else_in_an_onnx_file(tmp_path):
    """Text, an empty graph, and operators from before recurrent nodes were what they are."""
    (tmp_path / "text.onnx").write_text("not a model")
    assert "it is truncated or no ONNX file" in refused(tmp_path, tmp_path / "text.onnx")

    def empty(model):
        del model.graph.node[:]

    def old(model):
        model.opset_import[0].version = 6

    assert "is no ONNX model, or one without nodes" in changed(tmp_path, empty)
    assert "is of operator set 6" in changed(tmp_path, old)
