"""ModelService describes what is served and what failed to load."""

import json
from pathlib import Path

import grpc
import grpc.aio
import pytest
import torch
from gatehouse.v1 import model_pb2, model_pb2_grpc
from gatehouse_server.models.config import parse_config
from gatehouse_server.models.registry import Registry
from gatehouse_server.network.spec import parameter_shapes
from safetensors.torch import save_file

from tests.tiny import write_tiny_features
from tests.transport.stage import reason_of, stage, status_of


async def test_all_models_are_listed_with_those_that_failed(registry: Registry) -> None:
    """By name; a failed one has its failure and nothing else."""
    async with stage(registry) as on:
        response = await model_pb2_grpc.ModelServiceStub(on.channel).ListModels(model_pb2.ListModelsRequest())
    models = {f"{model.name}@{model.version}": model for model in response.models}
    assert list(models) == ["broken@3", "keyboard@1", "motion@1", "short@1", "topics@1"]
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


async def test_layers_are_described_with_their_sums_and_letters(registry: Registry) -> None:
    """Each direction of each layer has its sum, and every letter of a formula a size."""
    async with stage(registry) as on:
        stub = model_pb2_grpc.ModelServiceStub(on.channel)
        keyboard, topics, motion = [
            (await stub.GetModel(model_pb2.GetModelRequest(model=name))).model
            for name in ("keyboard", "topics", "motion")
        ]
    (layer,) = keyboard.recurrent_layers
    assert (layer.cell, layer.input_size, layer.hidden_size, layer.projection_size) == ("lstm", 16, 32, 16)
    assert (layer.direction, layer.merge, layer.output_size) == ("forward", "", 16)
    assert [each.formula for each in layer.parameter_sums] == ["4·(E + P + 2)·H + P·H"]
    assert layer.parameter_sums[0].one_bias_count == layer.parameter_sums[0].count - 4 * 32
    assert {each.symbol: each.size for each in keyboard.dimensions} == {"V": 66, "E": 16, "H": 32, "P": 16}
    (layer,) = topics.recurrent_layers
    assert (layer.direction, layer.merge, layer.output_size) == ("both", "concat", 32)
    assert [each.direction for each in layer.parameter_sums] == ["forward", "reverse"]
    assert [(each.cell, each.input_size) for each in motion.recurrent_layers] == [("gru", 3), ("gru", 16)]


async def test_both_networks_of_a_transducer_are_described(registry: Registry) -> None:
    """Layers with the part that they belong to, and letters of the decoder that are not the encoder's."""
    async with stage(registry) as on:
        stub = model_pb2_grpc.ModelServiceStub(on.channel)
        model = (await stub.GetModel(model_pb2.GetModelRequest(model="short"))).model
    assert [layer.part for layer in model.recurrent_layers] == ["encoder", "decoder"]
    assert [layer.parameter_sums[0].formula for layer in model.recurrent_layers] == [
        "3·(E + H + 2)·H",
        "3·(E′ + H′ + 2)·H′",
    ]
    assert {"H", "H′"} <= {each.symbol for each in model.dimensions}
    assert (model.online, model.session_bytes) == (False, 0)


async def test_what_cells_compute_beyond_their_names_is_told(tmp_path: Path) -> None:
    """Options of each layer, and those that differ in its reverse direction; none of cells as torch has them."""
    folder = write_tiny_features(tmp_path / "motion" / "1")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["recurrent"]["layers"] = [
        {"bidirectional": True, "reset": "before", "reverse": {"gate_clip": 2.0}, "initial_state": True},
        {"cell": "lstm", "peepholes": True, "gate_activation": "hard_sigmoid"},
        {},
    ]
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    shapes = parameter_shapes(parse_config((folder / "config.json").read_bytes()).network_spec())
    save_file({name: torch.zeros(shape) for name, shape in shapes.items()}, folder / "model.safetensors")
    async with stage(Registry.load([tmp_path], embedded=None)) as on:
        stub = model_pb2_grpc.ModelServiceStub(on.channel)
        model = (await stub.GetModel(model_pb2.GetModelRequest(model="motion"))).model
    assert [list(layer.options) for layer in model.recurrent_layers] == [
        ["reset before", "reverse reset before", "reverse gate_clip 2.0", "initial_state"],
        ["gate_activation hard_sigmoid", "peepholes"],
        [],
    ]


async def test_what_steps_and_sessions_cost_is_told(registry: Registry) -> None:
    """Of models that run sessions, memory includes the states of all writes that can be repeated."""
    async with stage(registry) as on:
        stub = model_pb2_grpc.ModelServiceStub(on.channel)
        models = (await stub.ListModels(model_pb2.ListModelsRequest())).models
    by_name = {each.name: each for each in models}
    keyboard, topics, motion = (by_name[name] for name in ("keyboard", "topics", "motion"))
    # Input products of so few words come out of a table: recurrent matrix, projection, output layer are left.
    assert keyboard.step_flops == 2 * (4 * 32 * 16 + 16 * 32 + 66 * 16)
    assert keyboard.step_bytes == 4 * (keyboard.step_flops // 2 + 4 * 32 + 66)
    assert motion.step_flops == 2 * (3 * 16 * 3 + 3 * 3 * 16 * 16 + 2 * 16)
    assert keyboard.session_bytes > 9 * keyboard.state_bytes
    assert (topics.state_bytes, topics.session_bytes) == (0, 0)
    assert topics.step_flops == 2 * 2 * (4 * 16 * 16)


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
