"""Keras models: `.keras` and `.h5`, read without TensorFlow and without running anything that they hold."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from gatehouse_server.convert.archives import is_zip
from gatehouse_server.convert.found_network import FoundHead, FoundNetwork, pooling_wanted, refuse_unused
from gatehouse_server.convert.port import ConversionError, ConvertedModel, SourceOptions

if TYPE_CHECKING:
    from gatehouse_server.convert.keras_network import KerasNetwork

_HDF5 = b"\x89HDF\r\n\x1a\n"
_SUFFIXES = {".keras", ".h5", ".hdf5"}


class KerasSource:
    """Whole models of Keras 2 and 3."""

    name = "keras"

    def detect(self, path: Path) -> bool:
        """By first bytes or, of a damaged file, by name."""
        if not path.is_file():
            return False
        if path.suffix in _SUFFIXES:
            return True
        with path.open("rb") as file:
            return file.read(len(_HDF5)) == _HDF5

    def read(self, path: Path, options: SourceOptions) -> ConvertedModel:
        """See `Source`."""
        refuse_unused(options, "a Keras model tells its layers itself")
        try:
            from gatehouse_server.convert import keras_file
        except ModuleNotFoundError as error:
            raise ConversionError(
                f"Keras models are read with h5py, which is not installed ({error})",
                "pip install 'gatehouse[keras]'",
            ) from error
        from gatehouse_server.convert.keras_architecture import layers_in_order
        from gatehouse_server.convert.keras_network import read_network

        if not is_zip(path) and path.stat().st_size == 0:
            raise ConversionError(f"{path}: is empty", "copy it again")
        with keras_file.open_keras(path) as file:
            if file.major is not None and file.major not in (2, 3):
                raise ConversionError(
                    f"{path}: is of Keras {file.version}", "save it again with Keras 2 or 3"
                )
            try:
                chain = layers_in_order(file.architecture)
                network = read_network(chain, file.weights, file.major, as_encoder=options.as_encoder)
            except RecursionError as error:
                raise ConversionError(
                    f"{path}: its architecture is nested too deeply", "save it again"
                ) from error
        return _converted(network, options, file.version)


def _converted(network: "KerasNetwork", options: SourceOptions, version: str) -> ConvertedModel:
    from gatehouse_server.convert.keras_network import tensor_of

    head = None
    if network.head is not None:
        kind, weight, bias = network.head
        # Without an activation they may be logits, for a loss that takes those, or values.
        told = None if kind == "linear" else kind
        head = FoundHead(kind=told, weight=tensor_of(weight), bias=None if bias is None else tensor_of(bias))
    found = FoundNetwork(
        embedding=None if network.embedding is None else tensor_of(network.embedding),
        layers=network.layers,
        pooling=network.pooling,
        head=head,
    )
    pooling, pooling_notes = pooling_wanted(found, options)
    found = dataclasses.replace(found, pooling=pooling)
    saved_by = f"saved by Keras {version}" if version else "saved by a Keras that left no version"
    return ConvertedModel(
        config=found.config(),
        parameters=found.parameters(),
        notes=(saved_by, *network.notes, *pooling_notes),
        left_out=tuple(network.left_out),
    )
