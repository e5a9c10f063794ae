"""How fast the network layer computes, beside plain torch, in one process with one thread and without RPC.

    python -m benchmarks.network --json

Regimes (shapes R1, R2 and R3 are described in `SHAPES` below):
- online: one step for each of B sequences, head, the five best and their normalizer. Gatehouse: `scan`,
  `Head.logits`, `Head.best`, `Head.log_normalizer`. Plain: `nn.LSTM` with T = 1, `nn.Linear`, `topk`,
  `logsumexp`.
- offline: whole documents sorted by length, batches of 64. Plain: `nn.LSTM` over packed sequences.

The two are measured in turns and the best turn of each counts, since other programs use the machine:
compare ratios.
The last line of standard output is JSON.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable

import torch
from gatehouse_server.network.network import Network
from gatehouse_server.network.packing import batch_sizes_of
from gatehouse_server.network.spec import (
    HeadSpec,
    NetworkSpec,
    RecurrentSpec,
    TokenInputSpec,
    parameter_shapes,
)
from torch import Tensor, nn

K = 5
BATCH_SIZES = (1, 8, 64, 256)
DOCUMENTS_PER_BATCH = 64

SHAPES = {
    "R1": NetworkSpec(
        input=TokenInputSpec(vocabulary_size=10_000, embedding_size=256),
        recurrent=RecurrentSpec.uniform(cell="lstm", input_size=256, hidden_size=512, layers=2),
        head=HeadSpec(kind="softmax", size=10_000),
    ),
    "R2": NetworkSpec(
        input=TokenInputSpec(vocabulary_size=10_000, embedding_size=96),
        recurrent=RecurrentSpec.uniform(cell="lstm", input_size=96, hidden_size=670, projection_size=96),
        head=HeadSpec(kind="softmax", size=10_000, tied=True),
    ),
    "R3": NetworkSpec(
        input=TokenInputSpec(vocabulary_size=10_000, embedding_size=128),
        recurrent=RecurrentSpec.uniform(cell="lstm", input_size=128, hidden_size=256, bidirectional=True),
        pooling=("mean",),
        head=HeadSpec(kind="softmax", size=4),
    ),
}


class PlainModel(nn.Module):
    """The same network from torch's modules."""

    def __init__(self, spec: NetworkSpec, parameters: dict[str, Tensor]) -> None:
        super().__init__()
        assert isinstance(spec.input, TokenInputSpec)
        assert spec.head is not None
        self.embedding = nn.Embedding(spec.input.vocabulary_size, spec.input.embedding_size)
        lowest = spec.recurrent.layers[0]
        self.rnn = nn.LSTM(
            lowest.input_size,
            lowest.hidden_size,
            len(spec.recurrent.layers),
            proj_size=lowest.projection_size,
            bidirectional=lowest.direction == "both",
        )
        self.head = nn.Linear(spec.summary_size, spec.head.size)
        tied = {"head.weight": parameters["embedding.weight"]} if spec.head.tied else {}
        self.load_state_dict(parameters | tied)

    def step(self, ids: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """ids (B,) -> logits (B, V) and the new state."""
        output, state = self.rnn(self.embedding(ids).unsqueeze(0), state)
        return self.head(output[0]), state

    def classify(self, ids: Tensor, batch_sizes: tuple[int, ...]) -> Tensor:
        """Packed ids (N,) -> logits (B, classes), mean pooling."""
        packed = nn.utils.rnn.PackedSequence(self.embedding(ids), torch.tensor(batch_sizes))
        padded, lengths = nn.utils.rnn.pad_packed_sequence(self.rnn(packed)[0])
        logits: Tensor = self.head(padded.sum(dim=0) / lengths.unsqueeze(1))
        return logits


def parameters_of(spec: NetworkSpec) -> dict[str, Tensor]:
    """Random parameters; their values do not matter for speed."""
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(shape, generator=generator) * 0.05 for name, shape in parameter_shapes(spec).items()
    }


def seconds_of(
    candidates: dict[str, Callable[[], object]], turns: int, turn_seconds: float
) -> dict[str, float]:
    """The best seconds per call of each candidate, measured in turns."""
    best = dict.fromkeys(candidates, float("inf"))
    for _ in range(turns):
        for name, call in candidates.items():
            call()
            calls, start = 0, time.perf_counter()
            while (elapsed := time.perf_counter() - start) < turn_seconds:
                call()
                calls += 1
            best[name] = min(best[name], elapsed / calls)
    return best


def online(name: str, batch: int, turns: int, turn_seconds: float) -> dict[str, object]:
    """Steps per second of one shape at one batch size, and where Gatehouse's time goes."""
    spec = SHAPES[name]
    parameters = parameters_of(spec)
    network, model = Network.build(spec, parameters), PlainModel(spec, parameters).eval()
    head = network.head
    assert head is not None
    ids = torch.randint(10_000, (batch,), generator=torch.Generator().manual_seed(1))
    state = network.layout.zeros(batch)
    layers = spec.recurrent.layers
    plain_state = (
        torch.zeros(len(layers), batch, layers[0].step_size),
        torch.zeros(len(layers), batch, layers[0].hidden_size),
    )

    def gatehouse() -> object:
        logits = head.logits(network.scan(ids, (batch,), state))
        return head.best(logits, K), head.log_normalizer(logits)

    def plain() -> object:
        nonlocal plain_state
        logits, plain_state = model.step(ids, plain_state)
        return logits.topk(K), logits.logsumexp(dim=1)

    hidden = network.scan(ids, (batch,), state).clone()
    logits = head.logits(hidden)
    seconds = seconds_of({"gatehouse": gatehouse, "plain": plain}, turns, turn_seconds)
    parts = seconds_of(
        {
            "scan": lambda: network.scan(ids, (batch,), state),
            "logits": lambda: head.logits(hidden),
            "best": lambda: head.best(logits, K),
            "log_normalizer": lambda: head.log_normalizer(logits),
            "plain topk": lambda: logits.topk(K),
            "plain logsumexp": lambda: logits.logsumexp(dim=1),
        },
        turns,
        turn_seconds / 4,
    )
    return {
        "shape": name,
        "batch": batch,
        "gatehouse_steps_per_second": round(batch / seconds["gatehouse"]),
        "plain_steps_per_second": round(batch / seconds["plain"]),
        "ratio": round(seconds["plain"] / seconds["gatehouse"], 2),
        "parts_microseconds": {part: round(1e6 * value) for part, value in parts.items()},
    }


def offline(batches: int, turns: int) -> dict[str, object]:
    """Documents per second of R3, batches of documents of similar length."""
    spec = SHAPES["R3"]
    parameters = parameters_of(spec)
    network, model = Network.build(spec, parameters), PlainModel(spec, parameters).eval()
    head = network.head
    assert head is not None
    generator = torch.Generator().manual_seed(2)
    sigma = 0.6
    location = torch.tensor(200.0).log() - sigma**2 / 2  # so that the mean is 200
    count = batches * DOCUMENTS_PER_BATCH
    drawn = torch.exp(location + sigma * torch.randn(count, generator=generator)).round().clamp(10, 1000)
    lengths = sorted((int(length) for length in drawn), reverse=True)
    work = []
    for start in range(0, count, DOCUMENTS_PER_BATCH):
        sizes = batch_sizes_of(lengths[start : start + DOCUMENTS_PER_BATCH])
        work.append((torch.randint(10_000, (sum(sizes),), generator=generator), sizes))

    def gatehouse() -> None:
        for ids, sizes in work:
            head.logits(network.summarize(ids, sizes))

    def plain() -> None:
        for ids, sizes in work:
            model.classify(ids, sizes)

    difference = max(
        float((head.logits(network.summarize(ids, sizes))[:, :4] - model.classify(ids, sizes)).abs().max())
        for ids, sizes in work[:2]
    )
    seconds = seconds_of({"gatehouse": gatehouse, "plain": plain}, turns, 0.1)
    return {
        "shape": "R3",
        "documents": count,
        "mean_length_steps": round(sum(lengths) / count, 1),
        "gatehouse_documents_per_second": round(count / seconds["gatehouse"]),
        "plain_documents_per_second": round(count / seconds["plain"]),
        "ratio": round(seconds["plain"] / seconds["gatehouse"], 2),
        "largest_difference": difference,
    }


def main() -> None:
    """Measure, print a table, and end with one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON line")
    parser.add_argument("--turns", type=int, default=4, help="turns of each candidate (default 4)")
    parser.add_argument("--turn-seconds", type=float, default=0.4, help="seconds of a turn (default 0.4)")
    parser.add_argument("--shapes", default="R1,R2,R3", help="which shapes (default R1,R2,R3)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    shapes = arguments.shapes.split(",")
    results: list[dict[str, object]] = []
    with torch.inference_mode():
        for name in shapes:
            if name == "R3":
                results.append(offline(batches=6, turns=arguments.turns))
            else:
                results.extend(
                    online(name, batch, arguments.turns, arguments.turn_seconds) for batch in BATCH_SIZES
                )
            if not arguments.json:
                for result in results[-len(BATCH_SIZES) if name != "R3" else -1 :]:
                    sys.stdout.write(f"{result}\n")
    hardware = f"{platform.processor() or platform.machine()}, torch {torch.__version__}, 1 thread"
    sys.stdout.write(json.dumps({"benchmark": "network", "hardware": hardware, "results": results}) + "\n")


if __name__ == "__main__":
    main()
