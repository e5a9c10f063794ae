"""Which models are served, and how the server is, over the port for operators."""

from dataclasses import dataclass, field
from pathlib import Path

import grpc
import grpc.aio
import pytest
from gatehouse.v1 import admin_pb2, admin_pb2_grpc
from gatehouse_server.errors import GatehouseError, ModelFolderError, ModelNotFound, ModelRequired
from gatehouse_server.models.registry import Registry
from gatehouse_server.transport.model_admin import fill_change
from gatehouse_server.transport.model_change import CHANGES, ModelChange

from tests.transport.stage import fields_of, reason_of, stage, status_of


@dataclass
class PlayedChanges:
    """Stands for `ModelChanges`: answers what the test says."""

    failure: GatehouseError | None = None
    asked: list[object] = field(default_factory=list)

    async def load(self, folder: Path) -> ModelChange:
        self._ask(folder)
        return ModelChange(key="keyboard@2", change="loaded", fingerprint="ab", load_seconds=1.5)

    async def unload(self, key: str, *, force: bool) -> tuple[ModelChange, int]:
        self._ask((key, force))
        return ModelChange(key=key, change="unloaded", leaving_sessions=4), 3

    async def reload(self) -> list[ModelChange]:
        self._ask("reload")
        return [
            ModelChange(key="a@1", change="unchanged"),
            ModelChange(key="b@1", change="failed", problem="no"),
        ]

    def _ask(self, what: object) -> None:
        self.asked.append(what)
        if self.failure is not None:
            raise self.failure


async def test_each_call_is_handed_on_and_its_change_is_told(registry: Registry) -> None:
    """Plain values, there and back."""
    played = PlayedChanges()
    async with stage(registry, changes=played) as on:
        stub = admin_pb2_grpc.AdminServiceStub(on.admin_channel)
        loaded = (await stub.LoadModel(admin_pb2.LoadModelRequest(folder="/m/keyboard/2"))).change
        assert (loaded.model, loaded.kind) == ("keyboard@2", admin_pb2.MODEL_CHANGE_KIND_LOADED)
        assert (loaded.fingerprint, loaded.load_duration.ToSeconds()) == ("ab", 1)
        unloaded = await stub.UnloadModel(admin_pb2.UnloadModelRequest(model="keyboard@1", force=True))
        assert (unloaded.evicted_sessions, unloaded.change.leaving_sessions) == (3, 4)
        changes = (await stub.ReloadModels(admin_pb2.ReloadModelsRequest())).changes
        assert [(each.model, each.problem) for each in changes] == [("a@1", ""), ("b@1", "no")]
    assert played.asked == [Path("/m/keyboard/2"), ("keyboard@1", True), "reload"]


def test_every_change_has_a_kind() -> None:
    """No two of them the same."""
    kinds = set()
    for change in CHANGES:
        message = admin_pb2.ModelChange()
        fill_change(message, ModelChange(key="a@1", change=change))
        kinds.add(message.kind)
    assert kinds == set(admin_pb2.ModelChangeKind.values()) - {0}


@pytest.mark.parametrize(
    ("failure", "code", "reason"),
    [
        (
            ModelFolderError(Path("/m"), "is empty", "fill it"),
            grpc.StatusCode.FAILED_PRECONDITION,
            "MODEL_FOLDER_INVALID",
        ),
        (ModelRequired("keyboard@1 is required"), grpc.StatusCode.FAILED_PRECONDITION, "MODEL_REQUIRED"),
        (ModelNotFound("no model"), grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND"),
    ],
)
async def test_what_cannot_be_done_is_told_with_its_reason(
    registry: Registry, failure: GatehouseError, code: grpc.StatusCode, reason: str
) -> None:
    """As everywhere, in one line."""
    async with stage(registry, changes=PlayedChanges(failure)) as on:
        stub = admin_pb2_grpc.AdminServiceStub(on.admin_channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.LoadModel(admin_pb2.LoadModelRequest(folder="/m/keyboard/2"))
    assert (caught.value.code(), reason_of(status_of(caught.value))) == (code, reason)
    assert caught.value.details() == failure.message


@pytest.mark.parametrize("folder", ["", "/m/\0"])
async def test_a_folder_is_needed(registry: Registry, folder: str) -> None:
    """And one that can be."""
    async with stage(registry, changes=PlayedChanges()) as on:
        stub = admin_pb2_grpc.AdminServiceStub(on.admin_channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.LoadModel(admin_pb2.LoadModelRequest(folder=folder))
    assert fields_of(status_of(caught.value)) == ["folder"]


async def test_the_status_arrives_whole(registry: Registry) -> None:
    """Every field of the message is filled from what the server knows; see STATUS of the busy server."""
    async with stage(registry) as on:
        stub = admin_pb2_grpc.AdminServiceStub(on.admin_channel)
        told = await stub.GetStatus(admin_pb2.GetStatusRequest())
    assert (told.version, told.phase, told.serving_since.ToMilliseconds()) == (
        "1.2.3",
        "serving",
        1_000_000_500,
    )
    assert (dict(told.problems), dict(told.warnings)) == ({}, {"state_store": "fails"})
    assert (told.steps_per_second, told.batch_sessions, told.window.seconds) == (1234.5, 3.5, 10)
    (write,) = told.operations
    assert (write.operation, write.p99.ToMicroseconds()) == ("write", 12_300)
    assert (told.queued, told.queued_documents, told.open_calls) == (7, 11, 5)
    assert (told.live_sessions, told.stored_sessions) == (3, 9)
    assert (told.store.kind, told.store.durability, told.store.lag.ToMilliseconds()) == (
        "sqlite",
        "async",
        250,
    )
    assert [(each.model, each.status, each.sessions) for each in told.models] == [
        ("keyboard@1", "leaving", 5),
        ("broken@1", "failed", 0),
    ]
    unfilled = {field.name for field in told.DESCRIPTOR.fields} - {
        field.name for field, _ in told.ListFields()
    }
    assert unfilled == {"problems", "documents_per_second", "batch_documents"}
