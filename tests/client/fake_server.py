"""A server to test the client against: a real one on loopback, with a toy behind it and hooks that make it
fail.
"""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import grpc
from gatehouse.v1 import admin_pb2_grpc, model_pb2, model_pb2_grpc, offline_pb2_grpc, online_pb2_grpc

from tests.client import fake_model
from tests.client.fake_admin import FakeAdmin
from tests.client.fake_offline import LABELS, FakeOffline
from tests.client.fake_online import FakeOnline
from tests.client.fake_status import abort, refusal


class FakeServer:
    """Listens on ports of its own, one for users and one for operators, from the start; `stop` and `start` keep the
    ports and the sessions. `waiting` is released for each call that is kept waiting.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.waiting = threading.Semaphore(0)
        self.online = FakeOnline(self.calls, self.waiting)
        self.offline = FakeOffline(self.calls, self.waiting)
        self.models = FakeModels(self.calls)
        self.admin = FakeAdmin(self.calls)
        self.port = self.admin_port = 0
        self.start()

    @property
    def target(self) -> str:
        """HOST:PORT."""
        return f"127.0.0.1:{self.port}"

    @property
    def admin_target(self) -> str:
        """HOST:PORT for operators."""
        return f"127.0.0.1:{self.admin_port}"

    def start(self) -> None:
        """Listens, on the ports of before if there were some."""
        limits = (f"grpc.max_{direction}_message_length" for direction in ("receive", "send"))
        options = (("grpc.so_reuseport", 0), *((limit, 16 * 1024 * 1024) for limit in limits))
        # Streams hold a thread each while they are open.
        self._server = grpc.server(ThreadPoolExecutor(max_workers=32), options=options)
        online_pb2_grpc.add_OnlineServiceServicer_to_server(self.online, self._server)
        offline_pb2_grpc.add_OfflineServiceServicer_to_server(self.offline, self._server)
        model_pb2_grpc.add_ModelServiceServicer_to_server(self.models, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        self._server.start()
        self._admin_server = grpc.server(ThreadPoolExecutor(max_workers=4), options=options)
        admin_pb2_grpc.add_AdminServiceServicer_to_server(self.admin, self._admin_server)
        self.admin_port = self._admin_server.add_insecure_port(f"127.0.0.1:{self.admin_port}")
        self._admin_server.start()

    def stop(self) -> None:
        """Ends everything at once, as a crash would."""
        for stopped in (self._server.stop(grace=None), self._admin_server.stop(grace=None)):
            stopped.wait()


class FakeModels(model_pb2_grpc.ModelServiceServicer):
    """Three models: one for words, one for documents, one that is broken."""

    def __init__(self, calls: Counter[str]) -> None:
        self.calls = calls
        keyboard = model_pb2.Model(
            name="keyboard",
            version="1",
            status=model_pb2.MODEL_STATUS_READY,
            task="language_model",
            description="Ten words.",
            online=True,
            cell="lstm",
            layers=1,
            hidden_size=4,
            tokens=model_pb2.TokenInput(
                vocabulary_size=len(fake_model.VOCABULARY),
                unknown_id=fake_model.UNKNOWN_ID,
                end_id=fake_model.END_ID,
                accepts_text=True,
            ),
            parameter_count=182,
            parameters=[
                model_pb2.ParameterMatrix(name="embedding.weight", shape=[10, 6], count=60, formula="V·E"),
                model_pb2.ParameterMatrix(name="rnn.weight_ih_l0", shape=[16, 6], count=96, formula="4·H·E"),
                model_pb2.ParameterMatrix(name="rnn.bias_ih_l0", shape=[16], count=16, formula="4·H"),
                model_pb2.ParameterMatrix(name="head.bias", shape=[10], count=10, formula="V"),
            ],
            recurrent_layers=[
                model_pb2.RecurrentLayer(
                    cell="lstm",
                    input_size=6,
                    hidden_size=4,
                    direction="forward",
                    output_size=4,
                    options=["peepholes"],
                    parameter_sums=[
                        model_pb2.ParameterSum(
                            direction="forward",
                            count=112,
                            formula="4·(E + 1 + 0)·H",
                            one_bias_count=96,
                            one_bias_formula="4·E·H",
                        )
                    ],
                )
            ],
            dimensions=[
                model_pb2.Dimension(symbol=symbol, size=size)
                for symbol, size in (("V", 10), ("E", 6), ("H", 4))
            ],
            step_flops=1_234_567,
            step_bytes=5_000,
            state_bytes=32,
            session_bytes=44_700,
            fingerprint="00" * 32,
            memory_bytes=168,
            card="# keyboard\n\nTen words.",
            arithmetic="float32",
            reproducible=True,
        )
        topics = model_pb2.Model(
            name="topics",
            version="1",
            status=model_pb2.MODEL_STATUS_READY,
            task="classifier",
            cell="lstm",
            layers=1,
            bidirectional=True,
            merge="concat",
            pooling=["last"],
            tokens=model_pb2.TokenInput(vocabulary_size=10, accepts_text=True),
            labels=LABELS,
            arithmetic="bfloat16",
        )
        broken = model_pb2.Model(
            name="broken",
            version="1",
            status=model_pb2.MODEL_STATUS_FAILED,
            failure="config.json: no such file",
        )
        self.served = {model.name: model for model in (broken, keyboard, topics)}

    def ListModels(  # noqa: N802  # the name is the contract's
        self, request: model_pb2.ListModelsRequest, context: grpc.ServicerContext
    ) -> model_pb2.ListModelsResponse:
        self.calls["ModelService.ListModels"] += 1
        return model_pb2.ListModelsResponse(models=self.served.values())

    def GetModel(  # noqa: N802
        self, request: model_pb2.GetModelRequest, context: grpc.ServicerContext
    ) -> model_pb2.GetModelResponse:
        self.calls["ModelService.GetModel"] += 1
        name = request.model.removesuffix("@1")
        if name not in self.served:
            error = refusal(grpc.StatusCode.NOT_FOUND, f"no model {name!r}", reason="MODEL_NOT_FOUND")
            abort(context, error)
        return model_pb2.GetModelResponse(model=self.served[name])
