"""The server that anyone writes in an afternoon, as a yardstick: grpc.aio, a queue, batched `nn.LSTM`, streams.

It speaks OnlineService.Stream with one write per message, keeps each stream's state as its own tensors, answers the
five best next tokens, and promises nothing else: no revisions, no rewinding, no limits.

    python -m benchmarks.plain_server [--threads 2] [--device cpu] MODEL_FOLDER PORT
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import torch
from gatehouse.v1 import online_pb2, online_pb2_grpc
from safetensors.torch import load_file
from torch import nn

K = 5
MOST_PER_BATCH = 256

State = tuple[torch.Tensor, torch.Tensor]
Waiting = tuple[int, State, "asyncio.Future[tuple[list[int], list[float], State]]"]


class PlainModel:
    """The folder's network from torch's modules."""

    def __init__(self, folder: Path, device: str) -> None:
        read = load_file(folder / "model.safetensors")
        weights = {name: tensor.float().to(device) for name, tensor in read.items()}
        sizes = json.loads((folder / "config.json").read_text(encoding="utf-8"))["recurrent"]
        self.rnn = nn.LSTM(
            sizes["input_size"], sizes["hidden_size"], sizes["layers"], proj_size=sizes["projection_size"]
        ).to(device)
        self.rnn.load_state_dict(
            {name.removeprefix("rnn."): value for name, value in weights.items() if name.startswith("rnn.")}
        )
        self.embedding = weights["embedding.weight"]
        self.head = weights.get("head.weight", self.embedding)
        self.bias = weights["head.bias"]
        output = sizes["projection_size"] or sizes["hidden_size"]
        self.zeros: State = (
            torch.zeros(sizes["layers"], 1, output, device=device),
            torch.zeros(sizes["layers"], 1, sizes["hidden_size"], device=device),
        )

    @torch.inference_mode()
    def step(self, waiting: list[Waiting]) -> list[tuple[list[int], list[float], State]]:
        """One step for each of a batch."""
        ids = torch.tensor([token for token, _, _ in waiting], device=self.bias.device)
        state = (
            torch.cat([state[0] for _, state, _ in waiting], dim=1),
            torch.cat([state[1] for _, state, _ in waiting], dim=1),
        )
        outputs, (hidden, cell) = self.rnn(self.embedding[ids].unsqueeze(0), state)
        logits = torch.nn.functional.linear(outputs[0], self.head, self.bias)
        values, best = torch.log_softmax(logits, dim=1).topk(K)
        states = zip(hidden.split(1, dim=1), cell.split(1, dim=1), strict=True)
        return list(zip(best.tolist(), values.tolist(), states, strict=True))


class PlainServicer(online_pb2_grpc.OnlineServiceServicer):
    """One state per stream, one queue for all."""

    def __init__(self, model: PlainModel) -> None:
        self._model = model
        self._queue: asyncio.Queue[Waiting] = asyncio.Queue()

    async def run(self) -> None:
        """Steps whatever waits, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            waiting = [await self._queue.get()]
            while not self._queue.empty() and len(waiting) < MOST_PER_BATCH:
                waiting.append(self._queue.get_nowait())
            answers = await loop.run_in_executor(None, self._model.step, waiting)
            for (_, _, answer), result in zip(waiting, answers, strict=True):
                if not answer.done():
                    answer.set_result(result)

    async def Stream(  # noqa: N802 - the generated name; aio takes a generator
        self,
        request_iterator: AsyncIterator[online_pb2.StreamRequest],
        context: grpc.aio.ServicerContext[online_pb2.StreamRequest, online_pb2.StreamResponse],
    ) -> AsyncIterator[online_pb2.StreamResponse]:
        """One answer for each message."""
        state = self._model.zeros
        async for request in request_iterator:
            operation = request.operations[0]
            answer: asyncio.Future[tuple[list[int], list[float], State]] = (
                asyncio.get_running_loop().create_future()
            )
            await self._queue.put((operation.write.tokens.ids[0], state, answer))
            best, values, state = await answer
            step = online_pb2.StepOutput(best_ids=best, best_log_probabilities=values)
            result = online_pb2.StreamResult(tag=operation.tag, write=online_pb2.WriteResult(steps=[step]))
            yield online_pb2.StreamResponse(results=[result])


async def serve(folder: Path, port: int, device: str) -> None:
    """Serves until it is killed."""
    servicer = PlainServicer(PlainModel(folder, device))  # type: ignore[abstract]  # it answers nothing else
    server = grpc.aio.server()
    online_pb2_grpc.add_OnlineServiceServicer_to_server(servicer, server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await servicer.run()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plain_server")
    parser.add_argument("--threads", type=int, default=2, help="threads of a torch operation (default 2)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("folder", type=Path)
    parser.add_argument("port", type=int)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    asyncio.run(serve(arguments.folder, arguments.port, arguments.device))
