"""What transducers are compared with: beam search by the book, and an encoder and decoder of torch's own modules.

Imports nothing of the server: neither the search nor the arithmetic is shared with what is tested.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

NextTokens = Callable[[tuple[int, ...]], npt.NDArray[np.float32]]
"""Natural log-probabilities (V,) of what follows an output's first tokens."""


def by_the_book(
    model: NextTokens,
    *,
    end_id: int,
    banned: Sequence[int] = (),
    beam_size: int = 1,
    length_penalty: float = 0.0,
    max_output_steps: int,
    alternatives: int = 1,
) -> list[tuple[tuple[int, ...], float, float, bool]]:
    """Tokens, log-probability, score and whether it ended, of the best outputs, best first.

    Beam search as it is written down, up to the last step: lists, sorted.
    """

    def penalty(length: int) -> float:
        return float(((5 + length) / 6) ** length_penalty)

    live: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    complete: list[tuple[tuple[int, ...], float, float, bool]] = []
    for step in range(1, max_output_steps + 1):
        continued = [
            (-(total + value), parent, token, prefix)
            for parent, (total, prefix) in enumerate(live)
            for token, value in enumerate(model(prefix).tolist())
            if token not in banned
        ]
        live = []
        for negated, _, token, prefix in sorted(continued)[:beam_size]:
            if token == end_id:
                complete.append((prefix, -negated, -negated / penalty(step), True))
            else:
                live.append((-negated, (*prefix, token)))
    complete += [(prefix, total, total / penalty(max_output_steps), False) for total, prefix in live]
    complete.sort(key=lambda each: -each[2])
    return complete[:alternatives]


class Half(nn.Module):
    """An embedding, or none for feature vectors, and layers; of a decoder also a bridge and a head."""

    initial: nn.Linear
    head: nn.Linear

    def __init__(self, embedding: nn.Embedding | None, rnn: nn.RNNBase, **others: nn.Linear) -> None:
        super().__init__()
        self.embedding = embedding
        self.rnn = rnn
        for name, other in others.items():
            setattr(self, name, other)

    def embedded(self, steps: Tensor) -> Tensor:
        """Steps as the layers take them."""
        if self.embedding is None:
            return steps
        vectors: Tensor = self.embedding(steps)
        return vectors


class TorchTransducer(nn.Module):
    """`encoder` and `decoder` under the parameter names of the model format; one document at a time, without batches.

    What is pooled of the encoder sets all of the decoder's state: h of each layer, with c after it where there is one.
    """

    def __init__(self, encoder: Half, decoder: Half, *, poolings: Sequence[str], start_id: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self._poolings = tuple(poolings)
        self._start_id = start_id

    @torch.no_grad()
    def reading(self, document: npt.NDArray[np.int64] | npt.NDArray[np.float32]) -> NextTokens:
        """What the decoder says after this document."""
        outputs = self.encoder.rnn(self.encoder.embedded(torch.from_numpy(document)))[0]
        state = torch.tanh(
            self.decoder.initial(torch.cat([self._pooled(kind, outputs) for kind in self._poolings]))
        )

        @torch.no_grad()
        def following(prefix: tuple[int, ...]) -> npt.NDArray[np.float32]:
            steps = torch.tensor([self._start_id, *prefix])
            last = self.decoder.rnn(self.decoder.embedded(steps), self._parts(state))[0][-1]
            values: npt.NDArray[np.float32] = torch.log_softmax(self.decoder.head(last), dim=0).numpy()
            return values

        return following

    def _pooled(self, kind: str, outputs: Tensor) -> Tensor:
        if kind == "mean":
            return outputs.mean(dim=0)
        if kind == "max":
            return outputs.amax(dim=0)
        if not self.encoder.rnn.bidirectional:
            return outputs[-1]
        width = outputs.shape[1] // 2
        return torch.cat([outputs[-1, :width], outputs[0, width:]])

    def _parts(self, state: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        rnn = self.decoder.rnn
        if not isinstance(rnn, nn.LSTM):
            return state.view(rnn.num_layers, rnn.hidden_size)
        h_size = rnn.proj_size or rnn.hidden_size
        layers = state.view(rnn.num_layers, h_size + rnn.hidden_size)
        return layers[:, :h_size].contiguous(), layers[:, h_size:].contiguous()


def torch_transducer(folder: Path) -> TorchTransducer:
    """The transducer of GRUs or LSTMs that a model folder describes, its tokens read and written by whoever asks."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    weights = {name: value.float() for name, value in load_file(folder / "model.safetensors").items()}
    decoder = config["decoder"]
    written = Tokenizer.from_file(str(folder / "output_tokenizer.json"))
    start_id = written.token_to_id(decoder["input"]["start_token"])
    assert start_id is not None
    halves = []
    for half in (config, decoder):
        source, layers = half["input"], half["recurrent"]
        kind = {"gru": nn.GRU, "lstm": nn.LSTM}[layers["cell"]]
        halves.append(
            (
                nn.Embedding(source["vocabulary_size"], source["embedding_size"]),
                kind(
                    layers["input_size"],
                    layers["hidden_size"],
                    num_layers=layers.get("layers", 1),
                    bidirectional=layers.get("bidirectional", False),
                ),
            )
        )
    bridge = _linear(weights["decoder.initial.weight"])
    head = _linear(weights["decoder.head.weight"])
    poolings = config["pooling"]
    made = TorchTransducer(
        Half(*halves[0]),
        Half(*halves[1], initial=bridge, head=head),
        poolings=[poolings] if isinstance(poolings, str) else poolings,
        start_id=start_id,
    )
    made.load_state_dict(weights)
    return made


def _linear(weight: Tensor) -> nn.Linear:
    outputs, inputs = weight.shape
    return nn.Linear(inputs, outputs)
