"""ModelService: what the server serves."""

from __future__ import annotations

import grpc.aio
from gatehouse.v1 import model_pb2, model_pb2_grpc

from gatehouse_server.errors import ModelFailed
from gatehouse_server.models.model import LoadedModel
from gatehouse_server.models.parameters import parameter_sums
from gatehouse_server.models.parts import Part, joint_dimensions, marked
from gatehouse_server.models.registry import FailedModel, Registry, version_order
from gatehouse_server.models.sections import TokenInput
from gatehouse_server.models.step_cost import step_cost
from gatehouse_server.network.cell_options import CellOptions
from gatehouse_server.network.layer_spec import LayerSpec
from gatehouse_server.network.spec import NetworkSpec
from gatehouse_server.sessions.footprint import live_session_bytes
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.transport.durations import fill_duration
from gatehouse_server.transport.fields import check_model


class ModelServicer(model_pb2_grpc.ModelServiceServicer):
    """Describes the models, those that failed to load included.

    `recent_writes`, as in SessionLimits, decides what a session takes.
    """

    def __init__(self, registry: Registry, *, recent_writes: int = SessionLimits().recent_writes) -> None:
        self._registry = registry
        self._recent_writes = recent_writes
        self._described: dict[str, model_pb2.Model] = {}

    async def ListModels(  # noqa: N802
        self,
        request: model_pb2.ListModelsRequest,
        context: grpc.aio.ServicerContext[model_pb2.ListModelsRequest, model_pb2.ListModelsResponse],
    ) -> model_pb2.ListModelsResponse:
        """All models."""
        return model_pb2.ListModelsResponse(models=self._models())

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
        model = next(each for each in self._models() if key in (f"{each.name}@{each.version}", each.name))
        return model_pb2.GetModelResponse(model=model)

    def _models(self) -> list[model_pb2.Model]:
        """All models as they are now. Describing one takes a while, so that is kept."""
        # By their contents' keys: a model that is let go must not be kept in memory by what was said of it.
        known, self._described = self._described, {}
        for model in self._registry.models:
            key = model.content_key
            self._described[key] = known.get(key) or _loaded(model, self._recent_writes)
        served = {model.key for model in self._registry.models}
        failed = [failure for failure in self._registry.failed if failure.key not in served]
        described = [*self._described.values(), *map(_failed, failed)]
        return sorted(described, key=lambda model: (model.name, version_order(model.version)))


def _failed(failure: FailedModel) -> model_pb2.Model:
    name, _, version = failure.key.partition("@")
    return model_pb2.Model(
        name=name, version=version, status=model_pb2.MODEL_STATUS_FAILED, failure=failure.problem
    )


def _loaded(model: LoadedModel, recent_writes: int) -> model_pb2.Model:
    config, network = model.config, model.network
    specs = {part: each.spec for part, each in model.networks.items()}
    costs = [
        step_cost(each.spec, each.arithmetic, folded=each.folded_bytes > 0)
        for each in model.networks.values()
    ]
    layers = [layer for spec in specs.values() for layer in spec.recurrent.layers]
    lowest, initial = layers[0], network.spec.initial
    message = model_pb2.Model(
        name=model.name,
        version=model.version,
        status=model_pb2.MODEL_STATUS_READY,
        task=config.task,
        description=config.description,
        online=model.online,
        cell=lowest.cell,
        layers=len(layers),
        hidden_size=lowest.hidden_size,
        projection_size=lowest.projection_size,
        bidirectional=any(layer.direction == "both" for layer in layers),
        merge=lowest.merge if lowest.direction == "both" else "",
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
        card=model.card,
        arithmetic=network.arithmetic.name,
        reproducible=all(each.reproducible for each in model.networks.values()),
        recurrent_layers=[layer for part, spec in specs.items() for layer in _layers(part, spec)],
        step_flops=sum(cost.flops for cost in costs),
        step_bytes=sum(cost.weight_bytes for cost in costs),
        initial_size=0 if initial is None else initial.size,
        dimensions=[
            model_pb2.Dimension(symbol=dimension.symbol, size=dimension.size)
            for dimension in joint_dimensions(specs)
        ],
    )
    if model.online:
        message.state_bytes = network.layout.bytes_per_row
        message.session_bytes = live_session_bytes(
            state_bytes=message.state_bytes,
            feature_size=None if isinstance(config.input, TokenInput) else config.input.size,
            recent_writes=recent_writes,
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


def _layers(part: Part, spec: NetworkSpec) -> list[model_pb2.RecurrentLayer]:
    return [
        model_pb2.RecurrentLayer(
            cell=layer.cell,
            input_size=layer.input_size,
            hidden_size=layer.hidden_size,
            projection_size=layer.projection_size,
            direction=layer.direction,
            merge=layer.merge if layer.direction == "both" else "",
            output_size=layer.output_size,
            options=_options(layer),
            part=part,
            parameter_sums=[
                model_pb2.ParameterSum(
                    direction=each.direction,
                    count=each.count,
                    formula=marked(part, each.formula),
                    one_bias_count=each.one_bias_count,
                    one_bias_formula=marked(part, each.one_bias_formula),
                )
                for each in parameter_sums(spec, number)
            ],
        )
        for number, layer in enumerate(spec.recurrent.layers)
    ]


def _options(layer: LayerSpec) -> list[str]:
    """`reset before`, `peepholes`; those of the second direction, where it has its own, as `reverse peepholes`."""
    first, *others = [_told(layer.options_of(direction)) for direction in layer.directions]
    for other in others:
        if other != first:
            first = first + [f"reverse {option}" for option in other or ["as torch"]]
    return [*first, "initial_state"] if layer.initial_state else first


def _told(options: CellOptions) -> list[str]:
    return [name if value is True else f"{name} {value}" for name, value in options.changed().items()]


def _fill_special_ids(message: model_pb2.TokenInput, model: LoadedModel) -> None:
    text = model.text
    assert text is not None
    if text.unknown_id is not None:
        message.unknown_id = text.unknown_id
    if text.start_id is not None:
        message.start_id = text.start_id
    if text.end_id is not None:
        message.end_id = text.end_id
