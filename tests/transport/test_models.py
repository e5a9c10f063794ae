"""ModelService describes what is served and what failed to load."""

import grpc
import grpc.aio
import pytest
from gatehouse.v1 import model_pb2, model_pb2_grpc
from gatehouse_server.models.registry import Registry

from tests.transport.stage import reason_of, stage, status_of


async def test_all_models_are_listed_with_those_that_failed(registry: Registry) -> None:
    """By name; a failed one has its failure and nothing else."""
    async with stage(registry) as on:
        response = await model_pb2_grpc.ModelServiceStub(on.channel).ListModels(model_pb2.ListModelsRequest())
    models = {f"{model.name}@{model.version}": model for model in response.models}
    assert list(models) == ["broken@3", "keyboard@1", "motion@1", "topics@1"]
    broken = models["broken@3"]
    assert broken.status == model_pb2.MODEL_STATUS_FAILED
    assert "safetensors" in broken.failure
    assert not broken.task


async def test_a_language_model_is_described(registry: Registry) -> None:
    """Sizes, tokens, parameters with their formulas, state."""
    async with stage(registry) as on:
        stub = model_pb2_grpc.ModelServiceStub(on.channel)
        model = (await stub.GetModel(model_pb2.GetModelRequest(model="keyboard"))).model
    assert (model.status, model.task, model.online) == (
        model_pb2.MODEL_STATUS_READY,
        "language_model",
        True,
    )
    assert (model.cell, model.layers, model.hidden_size, model.projection_size) == ("lstm", 1, 32, 16)
    assert (model.bidirectional, model.merge, list(model.pooling)) == (False, "", [])
    assert model.WhichOneof("input") == "tokens"
    assert model.tokens.accepts_text
    assert model.tokens.vocabulary_size == registry.get("keyboard").config.head.size  # type: ignore[union-attr]
    assert (model.tokens.unknown_id, model.tokens.start_id, model.tokens.end_id) == (0, 1, 1)
    assert model.tokens.HasField("unknown_id")
    assert sum(matrix.count for matrix in model.parameters) == model.parameter_count > 0
    assert all(matrix.formula for matrix in model.parameters)
    assert model.state_bytes == (32 + 16) * 4
    assert (model.arithmetic, model.reproducible) == ("float32", True)
    assert len(model.fingerprint) == 64
    assert model.card.startswith("# keyboard")


async def test_a_classifier_and_a_regressor_are_described(registry: Registry) -> None:
    """Labels, directions, pooling; features with their names."""
    async with stage(registry) as on:
        stub = model_pb2_grpc.ModelServiceStub(on.channel)
        topics = (await stub.GetModel(model_pb2.GetModelRequest(model="topics@1"))).model
        motion = (await stub.GetModel(model_pb2.GetModelRequest(model="motion"))).model
    assert (topics.online, topics.bidirectional, topics.merge) == (False, True, "concat")
    assert (list(topics.pooling), list(topics.labels)) == (["mean", "max"], ["astro", "math", "bio"])
    assert topics.state_bytes == 0
    assert (motion.features.size, list(motion.features.names)) == (3, ["x", "y", "z"])


async def test_a_model_that_failed_can_be_looked_at(registry: Registry) -> None:
    """Its failure is what one wants to know."""
    async with stage(registry) as on:
        stub = model_pb2_grpc.ModelServiceStub(on.channel)
        for name in ("broken", "broken@3"):
            model = (await stub.GetModel(model_pb2.GetModelRequest(model=name))).model
            assert model.status == model_pb2.MODEL_STATUS_FAILED


async def test_an_unknown_model_is_not_found(registry: Registry) -> None:
    """NOT_FOUND with the reason; no name at all is malformed."""
    async with stage(registry) as on:
        stub = model_pb2_grpc.ModelServiceStub(on.channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetModel(model_pb2.GetModelRequest(model="nobody"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert reason_of(status_of(caught.value)) == "MODEL_NOT_FOUND"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetModel(model_pb2.GetModelRequest())
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
