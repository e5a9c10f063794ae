"""ModelService: what the server serves."""

from __future__ import annotations

import grpc.aio
from gatehouse.v1 import model_pb2, model_pb2_grpc

from gatehouse_server.errors import ModelFailed
from gatehouse_server.models.model import LoadedModel
from gatehouse_server.models.registry import FailedModel, Registry, version_order
from gatehouse_server.models.sections import TokenInput
from gatehouse_server.transport.durations import fill_duration
from gatehouse_server.transport.fields import check_model


class ModelServicer(model_pb2_grpc.ModelServiceServicer):
    """Describes the models, those that failed to load included. The registry does not change."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        described = [_loaded(model) for model in registry.models] + [
            _failed(each) for each in registry.failed
        ]
        self._models = sorted(described, key=lambda model: (model.name, version_order(model.version)))

    async def ListModels(  # noqa: N802
        self,
        request: model_pb2.ListModelsRequest,
        context: grpc.aio.ServicerContext[model_pb2.ListModelsRequest, model_pb2.ListModelsResponse],
    ) -> model_pb2.ListModelsResponse:
        """All models."""
        return model_pb2.ListModelsResponse(models=self._models)

    async def GetModel(  # noqa: N802
        self,
        request: model_pb2.GetModelRequest,
        context: grpc.aio.ServicerContext[model_pb2.GetModelRequest, model_pb2.GetModelResponse],
    ) -> model_pb2.GetModelResponse:
        """One model. One that failed to load is described too: that is where its failure can be read."""
        check_model(request.model)
        try:
            key = self._registry.get(request.model).key
        except ModelFailed:
            key = next(
                failure.key
                for failure in reversed(self._registry.failed)
                if request.model in (failure.key, failure.key.partition("@")[0])
            )
        model = next(each for each in self._models if key in (f"{each.name}@{each.version}", each.name))
        return model_pb2.GetModelResponse(model=model)


def _failed(failure: FailedModel) -> model_pb2.Model:
    name, _, version = failure.key.partition("@")
    return model_pb2.Model(
        name=name, version=version, status=model_pb2.MODEL_STATUS_FAILED, failure=failure.problem
    )


def _loaded(model: LoadedModel) -> model_pb2.Model:
    config, recurrent = model.config, model.config.recurrent
    message = model_pb2.Model(
        name=model.name,
        version=model.version,
        status=model_pb2.MODEL_STATUS_READY,
        task=config.task,
        description=config.description,
        online=model.online,
        cell=recurrent.cell,
        layers=recurrent.layers,
        hidden_size=recurrent.hidden_size,
        projection_size=recurrent.projection_size,
        bidirectional=recurrent.bidirectional,
        merge=(recurrent.merge or "concat") if recurrent.bidirectional else "",
        pooling=config.pooling,
        labels=model.labels,
        parameters=[
            model_pb2.ParameterMatrix(
                name=matrix.name, shape=matrix.shape, count=matrix.count, formula=matrix.formula
            )
            for matrix in model.parameters
        ],
        parameter_count=model.parameter_count,
        fingerprint=model.fingerprint,
        memory_bytes=model.memory_bytes,
        state_bytes=model.network.layout.bytes_per_row if model.online else 0,
        card=model.card,
        arithmetic=model.network.arithmetic.name,
        reproducible=model.network.reproducible,
    )
    fill_duration(message.load_duration, model.load_seconds)
    if isinstance(config.input, TokenInput):
        message.tokens.vocabulary_size = config.input.vocabulary_size
        message.tokens.accepts_text = model.text is not None
        if model.text is not None:
            _fill_special_ids(message.tokens, model)
    else:
        message.features.size = config.input.size
        message.features.names.extend(config.input.names)
    return message


def _fill_special_ids(message: model_pb2.TokenInput, model: LoadedModel) -> None:
    text = model.text
    assert text is not None
    if text.unknown_id is not None:
        message.unknown_id = text.unknown_id
    if text.start_id is not None:
        message.start_id = text.start_id
    if text.end_id is not None:
        message.end_id = text.end_id
