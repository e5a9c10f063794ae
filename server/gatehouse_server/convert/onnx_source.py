"""ONNX graphs of recurrent layers, with an embedding before and a dense layer behind them."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gatehouse_server.convert.found_network import pooling_wanted, refuse_unused
from gatehouse_server.convert.port import ConversionError, ConvertedModel, Reference, SourceOptions

if TYPE_CHECKING:
    from gatehouse_server.convert.onnx_file import OnnxFile
    from gatehouse_server.convert.onnx_graph import GraphWalk
    from gatehouse_server.convert.onnx_network import OnnxNetwork

_MODEL = "model.onnx"


class OnnxSource:
    """`.onnx`, or a folder with model.onnx in it."""

    name = "onnx"

    def detect(self, path: Path) -> bool:
        """By name: protobuf messages begin in no way of their own."""
        return (path / _MODEL).is_file() if path.is_dir() else path.suffix == ".onnx"

    def read(self, path: Path, options: SourceOptions) -> ConvertedModel:
        """See `Source`."""
        refuse_unused(options, "an ONNX graph tells its layers itself")
        try:
            from gatehouse_server.convert.onnx_file import open_onnx
        except ModuleNotFoundError as error:
            raise ConversionError(
                f"ONNX models are read with onnx, which is not installed ({error})",
                "pip install 'gatehouse[onnx]'",
            ) from error
        from gatehouse_server.convert.onnx_graph import GraphWalk
        from gatehouse_server.convert.onnx_network import find_network

        file = open_onnx(path)
        walk = GraphWalk(file)
        network = find_network(
            walk.outputs(file.graph), walk.recurrent.handed_on, as_encoder=options.as_encoder
        )
        pooling, pooling_notes = pooling_wanted(network.found, options)
        found = dataclasses.replace(network.found, pooling=pooling)
        reference, reference_notes = _reference(file, walk, network)
        if reference is not None and pooling != network.found.pooling:
            if network.time.size not in (None, 1):
                reference = None
                reference_notes = (
                    "not compared with onnxruntime: the graph answers at the last of its steps alone",
                )
            else:
                reference = _at_every_step(reference)
        return ConvertedModel(
            config=found.config(),
            parameters=found.parameters(),
            notes=(
                f"operator set {file.opset}",
                *network.notes,
                *walk.recurrent.notes,
                *_notes_on_sizes(network),
                *pooling_notes,
                *reference_notes,
            ),
            left_out=network.left_out,
            reference=reference,
        )


def _reference(
    file: "OnnxFile", walk: "GraphWalk", network: "OnnxNetwork"
) -> tuple[Reference | None, tuple[str, ...]]:
    if network.source is None:
        return None, (
            "not compared with onnxruntime: what the recurrent layers read is not an input of the graph",
        )
    from gatehouse_server.convert.onnx_reference import onnx_reference

    try:
        return onnx_reference(
            file.model,
            walk.inputs,
            walk.recurrent.weight_inputs,
            network.source,
            walk.axes_of(network.source.name),
            network.output,
            network.time,
            network.batch,
        ), ()
    except ModuleNotFoundError:
        return None, ("not compared with onnxruntime, which is not installed",)
    except RuntimeError as error:
        raise ConversionError(
            f"{file.path}: onnxruntime cannot load it ({error})", "export the model again"
        ) from error


def _at_every_step(reference: Reference) -> Reference:
    """The same for a model that answers at each step: what the source says of every beginning of a sequence."""

    def run(sequences: Tensor) -> Tensor:
        return torch.stack(
            [reference.run(sequences[:, :end]) for end in range(1, sequences.shape[1] + 1)], dim=1
        )

    return dataclasses.replace(reference, run=run)


def _notes_on_sizes(network: "OnnxNetwork") -> tuple[str, ...]:
    told = {"steps": network.time.size, "sequences at once": network.batch.size}
    fixed = [f"{size} {what}" for what, size in told.items() if size is not None]
    return (f"the graph is made for {' and '.join(fixed)}; here there may be any number",) if fixed else ()
