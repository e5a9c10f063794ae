"""Protobuf messages to the plain values of `gatehouse.models`."""

from __future__ import annotations

from gatehouse.models import (
    FeatureInput,
    Model,
    ParameterMatrix,
    ParameterSum,
    RecurrentLayer,
    TokenInput,
)
from gatehouse.v1 import model_pb2


def model(message: model_pb2.Model) -> Model:
    """A model, ready or not."""
    return Model(
        name=message.name,
        version=message.version,
        ready=message.status == model_pb2.MODEL_STATUS_READY,
        failure=message.failure,
        task=message.task,
        description=message.description,
        online=message.online,
        cell=message.cell,
        layers=message.layers,
        hidden_size=message.hidden_size,
        projection_size=message.projection_size,
        bidirectional=message.bidirectional,
        merge=message.merge,
        recurrent_layers=tuple(map(_layer, message.recurrent_layers)),
        pooling=tuple(message.pooling),
        tokens=_token_input(message.tokens) if message.HasField("tokens") else None,
        features=FeatureInput(size=message.features.size, names=tuple(message.features.names))
        if message.HasField("features")
        else None,
        initial_size=message.initial_size,
        labels=tuple(message.labels),
        parameters=tuple(
            ParameterMatrix(
                name=entry.name, shape=tuple(entry.shape), count=entry.count, formula=entry.formula
            )
            for entry in message.parameters
        ),
        parameter_count=message.parameter_count,
        dimensions={entry.symbol: entry.size for entry in message.dimensions},
        step_flops=message.step_flops,
        step_bytes=message.step_bytes,
        fingerprint=message.fingerprint,
        memory_bytes=message.memory_bytes,
        state_bytes=message.state_bytes,
        session_bytes=message.session_bytes,
        load_seconds=message.load_duration.seconds + message.load_duration.nanos * 1e-9,
        card=message.card,
        arithmetic=message.arithmetic,
        reproducible=message.reproducible,
    )


def _layer(message: model_pb2.RecurrentLayer) -> RecurrentLayer:
    return RecurrentLayer(
        cell=message.cell,
        input_size=message.input_size,
        hidden_size=message.hidden_size,
        projection_size=message.projection_size,
        direction=message.direction,
        merge=message.merge,
        output_size=message.output_size,
        options=tuple(message.options),
        part=message.part,
        parameter_sums=tuple(
            ParameterSum(
                direction=entry.direction,
                count=entry.count,
                formula=entry.formula,
                one_bias_count=entry.one_bias_count or None,
                one_bias_formula=entry.one_bias_formula,
            )
            for entry in message.parameter_sums
        ),
    )


def _token_input(message: model_pb2.TokenInput) -> TokenInput:
    return TokenInput(
        vocabulary_size=message.vocabulary_size,
        unknown_id=message.unknown_id if message.HasField("unknown_id") else None,
        start_id=message.start_id if message.HasField("start_id") else None,
        end_id=message.end_id if message.HasField("end_id") else None,
        accepts_text=message.accepts_text,
    )
