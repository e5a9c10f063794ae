"""A walk through an ONNX graph: what every tensor is, up to the outputs."""

from collections.abc import Sequence

import onnx
from onnx import TensorProto

from gatehouse_server.convert.onnx_computing import compute
from gatehouse_server.convert.onnx_file import OnnxFile, array_of, attributes_of, is_own_operator, node_name
from gatehouse_server.convert.onnx_folding import MOST_NUMBERS, TooManyNumbersError, fold, made_numbers
from gatehouse_server.convert.onnx_moving import move
from gatehouse_server.convert.onnx_node import RecurrentNodes
from gatehouse_server.convert.onnx_recurrent import GATES
from gatehouse_server.convert.onnx_values import (
    Axis,
    Flow,
    GraphNode,
    NotFoldableError,
    Opaque,
    RawInput,
    Value,
)
from gatehouse_server.convert.port import ConversionError

_WHOLE = {TensorProto.INT32, TensorProto.INT64}


class GraphWalk:
    """`values`: what each tensor is. `recurrent`: what was found of recurrent nodes."""

    def __init__(self, file: OnnxFile) -> None:
        """Raises ConversionError for recurrent nodes that no cell of ours computes, and unreadable constants."""
        self._constants = file.constants()
        self.values: dict[str, Value] = {}
        self.inputs: dict[str, onnx.ValueInfoProto] = {}
        for given in file.graph.input:
            if given.name not in self._constants:
                self.inputs[given.name] = given
                self.values[given.name] = _raw(given)
        self.recurrent = RecurrentNodes(file.test_inputs())
        self._made_numbers = 0
        for node in file.graph.node:
            self._visit(node, file.opset)

    def axes_of(self, name: str) -> tuple[Axis, ...]:
        """The axes of an input of the graph."""
        value = self.values[name]
        return value.axes if isinstance(value, Flow) else ()

    def outputs(self, graph: onnx.GraphProto) -> list[tuple[str, Value]]:
        """The graph's outputs in their order. Raises ConversionError for one that no node makes."""
        return [(output.name, self._value(output.name, "the graph")) for output in graph.output]

    def _visit(self, node: onnx.NodeProto, opset: int) -> None:
        label = node_name(node)
        inputs = tuple(self._value(name, label) if name else None for name in node.input)
        made = self._made(node, label, inputs, opset)
        for name, value in zip(node.output, made, strict=False):
            if name:
                self.values[name] = value
        for name in node.output[len(made) :]:
            self.values[name] = Opaque(label)

    def _made(
        self, node: onnx.NodeProto, label: str, inputs: tuple[Value | None, ...], opset: int
    ) -> Sequence[Value]:
        unknown = [_unknown(label, inputs)] * len(node.output)
        if not is_own_operator(node) or any(
            attribute.HasField("g") or attribute.graphs for attribute in node.attribute
        ):
            return unknown
        attributes = attributes_of(node, opset)
        for name, value in attributes.items():
            if isinstance(value, TensorProto):
                try:
                    attributes[name] = array_of(value, f"{label}: attribute {name}")
                except ConversionError as error:
                    return [Opaque(label, because=error.problem)] * len(node.output)
        if node.op_type == "Constant" and "value" in attributes:
            return [attributes["value"]]
        seen = GraphNode(
            label=label,
            kind=node.op_type,
            inputs=inputs,
            outputs=tuple(node.output),
            attributes=attributes,
            opset=opset,
        )
        if node.op_type in GATES:
            return self.recurrent.read(seen)
        if any(isinstance(value, Opaque) for value in inputs):
            return unknown
        if any(isinstance(value, Flow) for value in inputs):
            return move(seen) or compute(seen) or unknown
        try:
            made = fold(seen.kind, seen.constants, attributes, opset)
        except NotFoldableError:
            return unknown
        except TooManyNumbersError as error:
            # Nor is the reference asked to make them.
            raise _too_large(label, error.numbers) from error
        self._made_numbers += made_numbers(seen.kind, made)
        if self._made_numbers > MOST_NUMBERS:
            raise _too_large(f"up to {label}", self._made_numbers)
        return made

    def _value(self, name: str, label: str) -> Value:
        if name not in self.values:
            tensor = self._constants.get(name)
            if tensor is None:
                raise ConversionError(f"{label} reads {name}, which nothing makes", "export the model again")
            self.values[name] = array_of(tensor, name)
        return self.values[name]


def _too_large(told: str, numbers: int) -> ConversionError:
    return ConversionError(
        f"{told}: the graph makes {numbers:,} numbers of its constants",
        "export the model again, with its weights as constants",
    )


def _unknown(label: str, inputs: Sequence[Value | None]) -> Opaque:
    """What a node makes that is not known; of one that reads such, the reason stays the first."""
    raws = {
        value.raw
        if isinstance(value, Opaque)
        else value.origin.name
        if isinstance(value.origin, RawInput)
        else None
        for value in inputs
        if isinstance(value, Opaque | Flow)
    }
    raw = next(iter(raws)) if len(raws) == 1 else None
    for value in inputs:
        if isinstance(value, Opaque) and value.raw is None:
            return Opaque(value.made_by, raw, value.because)
    return Opaque(label, raw)


def _raw(given: onnx.ValueInfoProto) -> Value:
    kind = given.type.tensor_type
    if not given.type.HasField("tensor_type") or not kind.HasField("shape"):
        return Opaque(f"input {given.name}", given.name, "it has no shape")
    if kind.elem_type not in {TensorProto.FLOAT, *_WHOLE}:
        name = (
            TensorProto.DataType.Name(kind.elem_type)
            if kind.elem_type in TensorProto.DataType.values()
            else "?"
        )
        return Opaque(f"input {given.name}", given.name, f"it is of type {name}, not float32")
    axes = tuple(
        Axis(f"{given.name}.{place}", size.dim_value if size.dim_value > 0 else None)
        for place, size in enumerate(kind.shape.dim)
    )
    return Flow(given.name, axes, RawInput(given.name, kind.elem_type in _WHOLE))
