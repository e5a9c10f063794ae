"""Documents to classify: the R3 mix of random tokens, and texts, real ones or made from the few that the tree holds."""

from __future__ import annotations

import csv
import json
import math
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from gatehouse_server.models.folder import load_folder
from gatehouse_server.models.registry import EMBEDDED
from gatehouse_server.network.network import Network
from gatehouse_server.network.spec import NetworkSpec
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.network import SHAPES, parameters_of

EXAMPLES = Path(__file__).parents[1] / "examples" / "documents.jsonl"

_VOCABULARY = 10_000
_WORDS, _WORDS_SIGMA = 154, 0.4

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """A model and its documents: as token ids, and as they are sent, which is as texts where there are any."""

    name: str
    what: str
    model: str
    spec: NetworkSpec
    parameters: Mapping[str, Tensor]
    documents: list[Ids]
    sent: list[str] | list[list[int]]

    def network(self, device: str) -> Network:
        """The network as it is served."""
        return Network.build(self.spec, self.parameters, device)

    @property
    def mean_steps(self) -> float:
        """Steps of a document."""
        return sum(len(document) for document in self.documents) / len(self.documents)


def random_mix(count: int, seed: int) -> Mix:
    """R3: lengths log-normal with mean 200 and sigma 0.6, clipped to 10..1000."""
    generator = np.random.default_rng(seed)
    lengths = lognormal(count, 200, 0.6, generator).round().clip(10, 1000)
    documents = [generator.integers(0, _VOCABULARY, int(length)) for length in lengths]
    spec = SHAPES["R3"]
    return Mix(
        name="R3",
        what="random tokens, lengths log-normal with mean 200",
        model="r3",
        spec=spec,
        parameters=parameters_of(spec),
        documents=documents,
        sent=[document.tolist() for document in documents],
    )


def text_mix(count: int, path: Path | None) -> Mix:
    """Texts for the embedded model `topics`: abstracts from a TSV file, or generated ones."""
    texts = generated_texts(count) if path is None else abstracts(path, count)
    folder = EMBEDDED / "topics" / "1"
    model = load_folder(folder, "cpu")
    assert model.text is not None
    return Mix(
        name="text",
        what=f"generated from the sentences of {EXAMPLES.name}" if path is None else "abstracts of arXiv",
        model="topics",
        spec=model.network.spec,
        parameters={name: tensor.float() for name, tensor in load_file(folder / "model.safetensors").items()},
        documents=[np.array(ids, dtype=np.int64) for ids in model.text.encode_many(texts)],
        sent=texts,
    )


def abstracts(path: Path, count: int) -> list[str]:
    """Titles and abstracts of a TSV file that has columns of these names."""
    with path.open(encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        texts = [f"{row['title']}. {row['abstract']}" for row, _ in zip(rows, range(count), strict=False)]
    if len(texts) < count:
        raise ValueError(f"{path} has {len(texts)} abstracts, and {count} are wanted")
    return texts


def generated_texts(count: int) -> list[str]:
    """As long as abstracts are (154 words on average), of whole sentences in random order."""
    examples = [json.loads(line)["text"] for line in EXAMPLES.read_text(encoding="utf-8").splitlines()]
    sentences = [sentence for text in examples for sentence in re.split(r"(?<=\.) ", text)]
    generator, chooser = np.random.default_rng(0), random.Random(0)
    texts = []
    for words in lognormal(count, _WORDS, _WORDS_SIGMA, generator):
        text = chooser.choice(sentences)
        while text.count(" ") < words:
            text += " " + chooser.choice(sentences)
        texts.append(text)
    return texts


def lognormal(
    count: int, mean: float, sigma: float, generator: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Lengths with this mean."""
    return generator.lognormal(math.log(mean) - sigma**2 / 2, sigma, count)
