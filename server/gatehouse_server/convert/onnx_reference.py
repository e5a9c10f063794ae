"""onnxruntime on the source's own graph: what a converted model is compared with."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor

from gatehouse_server.convert.onnx_recurrent import GATES
from gatehouse_server.convert.onnx_values import DIRECTIONS, FEATURES, Array, Axis, Flow, RawInput, Scored
from gatehouse_server.convert.port import Form, Reference

_STEPS, _BATCH = 20, 3


def onnx_reference(
    model: onnx.ModelProto,
    inputs: Mapping[str, onnx.ValueInfoProto],
    weight_inputs: Mapping[str, Array],
    source: RawInput,
    source_axes: Sequence[Axis],
    output: Flow,
    time: Axis,
    batch: Axis,
) -> Reference:
    """`source`: the input with the sequences. Raises ModuleNotFoundError without onnxruntime, RuntimeError where it
    can't load the graph.
    """
    import onnxruntime

    session = _session(onnxruntime, _prepared(model, output.tensor))
    order = [source_axes.index(axis) for axis in (batch, time)]
    rest = [
        place for place in range(len(inputs[source.name].type.tensor_type.shape.dim)) if place not in order
    ]

    def run(sequences: Tensor) -> Tensor:
        given = sequences.numpy().astype(_type_of(inputs[source.name]), copy=False)
        feeds = {source.name: np.ascontiguousarray(_placed(given, [*order, *rest]))}
        B, T = sequences.shape[:2]
        for name, info in inputs.items():
            if name in weight_inputs:
                feeds[name] = weight_inputs[name]
            elif name not in feeds:
                feeds[name] = _other(info, B, T, batch)
        try:
            (made,) = session.run([output.tensor], feeds)
        except Exception as error:  # onnxruntime's own exceptions have no common base but this
            raise RuntimeError(_first_line(error)) from error
        return _arranged(torch.from_numpy(np.array(made)), output, time, batch, B, T)

    scores = output.origin.scores if isinstance(output.origin, Scored) else None
    form: Form = "outputs"
    if isinstance(output.origin, Scored):
        form = "logits" if scores is None else "log_scores" if scores == "log_softmax" else "scores"
    return Reference(
        name=f"onnxruntime {onnxruntime.__version__}",
        run=run,
        form=form,
        batch_size=batch.size or _BATCH,
        steps=time.size or _STEPS,
    )


def _placed(given: Array, order: Sequence[int]) -> Array:
    """Batch, time and the rest of `given`, each at its place in the graph's input."""
    extra = given.reshape(given.shape + (1,) * (len(order) - given.ndim))
    return np.moveaxis(extra, range(len(order)), order)


def _other(info: onnx.ValueInfoProto, B: int, T: int, batch: Axis) -> Array:
    """Lengths of whole sequences for an input of integers, else a state of zeros."""
    kind = _type_of(info)
    dimensions = info.type.tensor_type.shape.dim
    if kind != np.float32:
        return np.full(B, T, kind)
    return np.zeros([size.dim_value or B for size in dimensions], np.float32)


def _arranged(made: Tensor, output: Flow, time: Axis, batch: Axis, B: int, T: int) -> Tensor:
    """(B, T, O), or (B, O) where steps are pooled: axes in our order, joined ones apart, those of size 1 gone."""
    apart: list[Axis] = [part for axis in output.axes for part in (axis.of or (axis,))]
    sizes = {time: T, batch: B}
    shape = [sizes.get(axis, 1 if axis.size == 1 else -1) for axis in apart]
    # Only one axis is of a size that is not told: features, or those and directions before them.
    if DIRECTIONS in apart:
        shape[apart.index(DIRECTIONS)] = made.shape[output.axes.index(DIRECTIONS)]
    values = made.reshape(shape)
    wanted = [axis for axis in (batch, time, DIRECTIONS, FEATURES) if axis in apart]
    kept = [apart.index(axis) for axis in wanted]
    gone = [place for place in range(len(apart)) if place not in kept]
    values = values.permute(*kept, *gone)
    leading = [axis for axis in (batch, time) if axis in apart]
    return values.reshape(*values.shape[: len(leading)], -1)


def _type_of(info: onnx.ValueInfoProto) -> np.dtype[np.generic]:
    return helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)


def _session(onnxruntime: object, model: onnx.ModelProto) -> "_Session":
    options = onnxruntime.SessionOptions()  # type: ignore[attr-defined]
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(  # type: ignore[attr-defined, no-any-return]
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # as above; and protobuf's for a message that is too large
        raise RuntimeError(_first_line(error)) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).split("\n", 1)[0]


class _Session:
    run: Callable[[list[str], Mapping[str, Array]], list[Array]]


def _prepared(model: onnx.ModelProto, output: str) -> onnx.ModelProto:
    """A copy that hands out `output`, with nodes as onnxruntime knows them: it has no `layout` but 0."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if output not in {each.name for each in copy.graph.output}:
        copy.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, None))
    nodes: list[onnx.NodeProto] = []
    for number, node in enumerate(copy.graph.node):
        nodes += _with_time_first(node, f"layout.{number}") if node.op_type in GATES else [node]
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy


def _with_time_first(node: onnx.NodeProto, prefix: str) -> list[onnx.NodeProto]:
    layout = [attribute for attribute in node.attribute if attribute.name == "layout"]
    if not layout or layout[0].i == 0:
        return [node]
    made = onnx.NodeProto()
    made.CopyFrom(node)
    del made.attribute[:]
    made.attribute.extend(attribute for attribute in node.attribute if attribute.name != "layout")
    before: list[onnx.NodeProto] = []
    behind: list[onnx.NodeProto] = []
    for number in (0, 5, 6):
        if number < len(node.input) and node.input[number]:
            made.input[number] = f"{prefix}.in{number}"
            before.append(
                helper.make_node("Transpose", [node.input[number]], [made.input[number]], perm=[1, 0, 2])
            )
    for number, name in enumerate(node.output):
        if name:
            made.output[number] = f"{prefix}.out{number}"
            order = [2, 0, 1, 3] if number == 0 else [1, 0, 2]
            behind.append(helper.make_node("Transpose", [made.output[number]], [name], perm=order))
    return [*before, made, *behind]
