"""Reading an ONNX file: graph, constants, and the test data beside it, nothing of them taken on trust."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from gatehouse_server.convert.archives import LARGEST_BYTES
from gatehouse_server.convert.onnx_values import Array
from gatehouse_server.convert.port import ConversionError

MODEL: Final = "model.onnx"
_DATA_SET: Final = "test_data_set_0"
_OLDEST_OPSET = 7
_MESSAGE_LIMIT_BYTES = 2**31
_TYPES = {TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL}
_OWN_DOMAINS = {"", "ai.onnx"}
_AGAIN = "copy the file again, or export the model again"


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxFile:
    """A model, the version of ONNX's operators that it uses, and where external data may lie."""

    path: Path
    model: onnx.ModelProto
    opset: int

    @property
    def graph(self) -> onnx.GraphProto:
        """The nodes."""
        return self.model.graph

    def constants(self) -> dict[str, onnx.TensorProto]:
        """Initializers by name. Those with data elsewhere hold it from here on. Raises ConversionError."""
        found: dict[str, onnx.TensorProto] = {}
        for tensor in self.graph.initializer:
            if tensor.data_location == TensorProto.EXTERNAL:
                _bring_in(tensor, self.path.parent)
            found[tensor.name] = tensor
        return found

    def test_inputs(self) -> Mapping[str, Array]:
        """What ONNX's own test data beside the model gives for inputs of the graph; nothing where there is none."""
        folder = self.path.parent / _DATA_SET
        found: dict[str, Array] = {}
        for number, given in enumerate(self.graph.input):
            file = folder / f"input_{number}.pb"
            if file.is_file():
                tensor = TensorProto()
                _parse(file, tensor)
                found[given.name] = array_of(tensor, f"{file}")
        return found


def open_onnx(path: Path) -> OnnxFile:
    """Raises ConversionError."""
    file = path / MODEL if path.is_dir() else path
    model = onnx.ModelProto()
    _parse(file, model)
    if not model.graph.node:
        raise ConversionError(f"{file}: is no ONNX model, or one without nodes", _AGAIN)
    if model.graph.sparse_initializer:
        name = model.graph.sparse_initializer[0].values.name
        raise ConversionError(f"{file}: {name} is a sparse tensor", "export it dense")
    opset = max((each.version for each in model.opset_import if each.domain in _OWN_DOMAINS), default=0)
    if opset < _OLDEST_OPSET:
        raise ConversionError(
            f"{file}: is of operator set {opset}, in which recurrent nodes were others",
            f"export it for operator set {_OLDEST_OPSET} or newer",
        )
    return OnnxFile(path=file, model=model, opset=opset)


def array_of(tensor: onnx.TensorProto, label: str) -> Array:
    """The numbers of a tensor. Raises ConversionError for types that are not computed in, and for absurd dimensions."""
    if tensor.data_type not in _TYPES:
        kind = (
            TensorProto.DataType.Name(tensor.data_type) if _known(tensor.data_type) else str(tensor.data_type)
        )
        raise ConversionError(f"{label}: is of type {kind}", "export the model in float32")
    count = math.prod(tensor.dims) if all(size >= 0 for size in tensor.dims) else -1
    width = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    stored = (
        len(tensor.raw_data) // width
        if tensor.HasField("raw_data")
        else len(tensor.float_data) + len(tensor.int32_data) + len(tensor.int64_data)
    )
    if count != stored:
        raise ConversionError(
            f"{label}: declares {tuple(tensor.dims)}, which are {count:,} numbers, and holds {stored:,}",
            _AGAIN,
        )
    try:
        return np.array(numpy_helper.to_array(tensor))
    except (ValueError, TypeError) as error:
        raise ConversionError(f"{label}: cannot be read ({error})", _AGAIN) from error


def node_name(node: onnx.NodeProto) -> str:
    """For messages: its name, or what it makes, and its operator."""
    made = next((output for output in node.output if output), "")
    operator = node.op_type if node.domain in _OWN_DOMAINS else f"{node.domain}.{node.op_type}"
    return f"node {node.name or made or '(without a name)'} ({operator})"


def attributes_of(node: onnx.NodeProto, opset: int) -> dict[str, Any]:
    """Attributes by name, texts as such. Raises ConversionError for one that is not readable, or of another type than
    its operator's.
    """
    found: dict[str, Any] = {}
    types = _attribute_types(node, opset)
    for attribute in node.attribute:
        wanted = types.get(attribute.name)
        if wanted is not None and attribute.type != AttributeProto.AttributeType.Value(wanted):
            got = AttributeProto.AttributeType.Name(attribute.type)
            raise ConversionError(
                f"{node_name(node)}: attribute {attribute.name} is of type {got}, expected {wanted}",
                _AGAIN,
            )
        try:
            value = helper.get_attribute_value(attribute)
            found[attribute.name] = _decoded(value)
        except (ValueError, UnicodeDecodeError) as error:
            raise ConversionError(
                f"{node_name(node)}: attribute {attribute.name} is unreadable", _AGAIN
            ) from error
    return found


def _attribute_types(node: onnx.NodeProto, opset: int) -> dict[str, str]:
    """What ONNX says of the operator's attributes, by name; nothing of an operator that it does not know."""
    if not onnx.defs.has(node.op_type, opset):
        return {}
    told = onnx.defs.get_schema(node.op_type, opset).attributes
    return {name: str(each.type).rpartition(".")[2] for name, each in told.items()}


def is_own_operator(node: onnx.NodeProto) -> bool:
    """Whether it is ONNX's, not somebody's own."""
    return node.domain in _OWN_DOMAINS


def _decoded(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if not isinstance(value, str) and hasattr(value, "__iter__") and not hasattr(value, "dims"):
        return [each.decode() if isinstance(each, bytes) else each for each in value]
    return value


def _parse(path: Path, message: onnx.ModelProto | onnx.TensorProto) -> None:
    try:
        size = path.stat().st_size
        if not 0 < size < _MESSAGE_LIMIT_BYTES:
            raise ConversionError(f"{path}: {size:,} bytes are no ONNX file", _AGAIN)
        message.ParseFromString(path.read_bytes())
    except (DecodeError, OSError, RecursionError) as error:
        raise ConversionError(
            f"{path}: cannot be read, it is truncated or no ONNX file ({error})", _AGAIN
        ) from error


def _bring_in(tensor: onnx.TensorProto, folder: Path) -> None:
    """Puts external data into the tensor, if it lies beside the model."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    label = f"{tensor.name}: its data are in {location or 'no file'}"
    relative = PurePosixPath(location.replace("\\", "/"))
    inside = folder.resolve()
    file = (inside / relative).resolve()
    if not location or relative.is_absolute() or ".." in relative.parts or inside not in file.parents:
        raise ConversionError(
            f"{label}, outside of the model's folder", "keep external data beside the model"
        )
    offset, length = (_number(entries, key, label) for key in ("offset", "length"))
    if not file.is_file():
        raise ConversionError(f"{label}, which is not there", "copy it beside the model")
    start = offset or 0
    size = file.stat().st_size - start if length is None else length
    if not 0 <= size <= LARGEST_BYTES or start + size > file.stat().st_size:
        raise ConversionError(f"{label}, which is shorter than that", "copy it again")
    with file.open("rb") as opened:
        opened.seek(start)
        tensor.raw_data = opened.read(size)
    del tensor.external_data[:]
    tensor.data_location = TensorProto.DEFAULT


def _number(entries: Mapping[str, str], key: str, label: str) -> int | None:
    text = entries.get(key)
    if text is None:
        return None
    if not text.isdecimal():
        raise ConversionError(f"{label}, at {key} {text!r}", _AGAIN)
    return int(text)


def _known(kind: int) -> bool:
    return kind in TensorProto.DataType.values()
