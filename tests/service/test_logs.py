"""The log of a server that is asked all kinds of things, with and without success, at its finest level."""

from __future__ import annotations

import contextlib
import json
import threading
from pathlib import Path
from typing import Any

import grpc
import pytest
from gatehouse import Client, errors
from gatehouse.v1 import offline_pb2, online_pb2, online_pb2_grpc

from tests.service.conftest import launch
from tests.tiny import (
    write_tiny_classifier,
    write_tiny_features,
    write_tiny_keyboard,
    write_tiny_transducer,
)

SECRET = "damn boston dog"
NUMBER = 41.625  # a feature, which has as many digits here as anywhere


def ask_well(client: Client) -> None:
    """One of each kind of call, each with something that its user would not like to be read."""
    client.suggest(SECRET, model="keyboard", session="mine", exclude=[SECRET], extra_words=[SECRET])
    words = client.session("keyboard")
    words.append(text=SECRET, k=3, every_step=True, scores=True, vector=True)
    words.rewind(to=1)
    client.fork(words.id).delete()
    client.import_session(client.export_session(words.id)).delete()
    list(client.generate(SECRET, model="keyboard", max_steps=3))
    client.session("motion").append(features=[[NUMBER, NUMBER, NUMBER]])
    list(client.classify([(SECRET, SECRET)], model="topics"))
    client.classify_batch([(SECRET, SECRET)], model="topics")
    list(client.transduce([(SECRET, "a b c")], model="short"))
    with client.stream() as stream:
        over_stream = stream.session("keyboard")
        for _ in range(200):
            over_stream.append(text=SECRET)
    for model in client.list_models():
        with contextlib.suppress(errors.GatehouseError):
            client.get_model(f"{model.name}@{model.version}")


def ask_badly(client: Client, channel: grpc.Channel) -> None:
    """All kinds of refusals, and calls that are broken off, quoting the same."""
    refused: list[Any] = [
        lambda: client.suggest(SECRET, model=SECRET),
        lambda: client.suggest(SECRET, model="topics"),
        lambda: client.suggest(SECRET, model="broken"),
        lambda: client.suggest(SECRET, model="keyboard", k=100_000),
        lambda: client.suggest(SECRET * 100_000, model="keyboard"),
        lambda: client.session("keyboard", session_id=SECRET),
        lambda: client.attach("dog"),
        lambda: client.session("keyboard").append(text=SECRET * 10_000),
        lambda: client.session("keyboard").append(tokens=[10**6]),
        lambda: client.session("motion").append(text=SECRET),
        lambda: client.session("motion").append(features=[[float("nan")] * 3]),
        lambda: client.import_session(SECRET.encode()),
        lambda: list(client.generate(SECRET, model="topics")),
    ]
    for ask in refused:
        with pytest.raises((errors.GatehouseError, ValueError)):
            ask()
    (document,) = client.classify_batch([(SECRET, SECRET * 1000)], model="topics")
    assert document.error is not None
    for method in ("OnlineService/Write", "OnlineService/Suggest", "OfflineService/Classify", "Nothing/At"):
        garbage: Any = channel.unary_unary(f"/gatehouse.v1.{method}")
        with pytest.raises(grpc.RpcError):
            garbage(SECRET.encode())
    stub = online_pb2_grpc.OnlineServiceStub(channel)
    stop = threading.Event()

    def endless() -> Any:
        yield online_pb2.StreamRequest(
            operations=[
                online_pb2.StreamOperation(
                    tag=1, suggest=online_pb2.TextSuggestion(text=SECRET, model="keyboard")
                ),
                online_pb2.StreamOperation(
                    tag=2, suggest=online_pb2.TextSuggestion(text=SECRET, model=SECRET)
                ),
                online_pb2.StreamOperation(tag=3),
            ]
        )
        stop.wait()

    stream = stub.Stream(endless())
    next(iter(stream))
    stream.cancel()
    stop.set()
    documents: Any = channel.stream_stream(
        "/gatehouse.v1.OfflineService/ClassifyStream",
        request_serializer=offline_pb2.ClassifyStreamRequest.SerializeToString,
    )
    with pytest.raises(grpc.RpcError):
        list(documents(iter([offline_pb2.ClassifyStreamRequest()])))


def test_the_log_has_lines_for_operators_alone(tmp_path: Path) -> None:
    """Start and end; nothing for each call, step or refusal, and nothing of what users wrote."""
    write_tiny_keyboard(tmp_path / "keyboard" / "1")
    write_tiny_classifier(tmp_path / "topics" / "1")
    write_tiny_features(tmp_path / "motion" / "1")
    write_tiny_transducer(tmp_path / "short" / "1")
    write_tiny_features(tmp_path / "broken" / "1")
    (tmp_path / "broken" / "1" / "model.safetensors").write_bytes(b"not safetensors")
    options = ["--models", str(tmp_path), "--no-embedded-models", "--max-document-steps", "1000"]
    process, serving = launch(*options, "--log-level", "debug")
    try:
        with Client(serving["grpc"]) as client, grpc.insecure_channel(serving["grpc"]) as channel:
            ask_well(client)
            ask_badly(client, channel)
    finally:
        process.terminate()
        _, rest = process.communicate(timeout=60)
    assert process.returncode == 0
    for word in (*SECRET.split(), str(NUMBER)):
        assert word not in rest
    assert [json.loads(line)["event"] for line in rest.splitlines()] == ["draining", "stopped"]
