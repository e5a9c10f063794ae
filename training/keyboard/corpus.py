"""The keyboard's text: reads the two corpora, prepares them, numbers their words."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from training.keyboard.first_names import vary_first_names
from training.keyboard.tokenization import SENTENCE_END, build_tokenizer, cased_words, choose_words, token_id

Ids = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Sentences, one per entry: two corpora to train on, and Tatoeba's validation part."""

    tatoeba: list[str]
    common_voice: list[str]
    valid: list[str]

    @property
    def train(self) -> list[str]:
        return [*self.tatoeba, *self.common_voice]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Sentences as one run of ids, each closed by the end token; sentence n: starts[n] to starts[n + 1]."""

    ids: Ids
    starts: npt.NDArray[np.int64]

    @property
    def sentences(self) -> int:
        return len(self.starts) - 1

    def sentence(self, index: int) -> Ids:
        return self.ids[self.starts[index] : self.starts[index + 1]]


def _lines(path: Path) -> list[str]:
    stripped = (" ".join(line.split()) for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in stripped if line]


def _key(sentence: str) -> str:
    """What makes two sentences the same one: letters and digits, whatever their case and marks."""
    return "".join(character for character in sentence.lower() if character.isalnum())


def read(data: Path) -> Text:
    """Read `data`/tatoeba-eng and `data`/common-voice-en-sentences.

    Of Common Voice, sentences that Tatoeba holds (either part) are dropped. Raises `OSError` for a missing
    file.
    """
    tatoeba = _lines(data / "tatoeba-eng" / "train.txt")
    valid = _lines(data / "tatoeba-eng" / "valid.txt")
    known = {_key(sentence) for sentence in (*tatoeba, *valid)}
    voice = _lines(data / "common-voice-en-sentences" / "sentences.txt")
    return Text(tatoeba=tatoeba, common_voice=[s for s in voice if _key(s) not in known], valid=valid)


def prepare(text: Text, seed: int) -> Text:
    """The same sentences with the corpus's two first names varied."""
    return Text(
        tatoeba=[vary_first_names(sentence, seed) for sentence in text.tatoeba],
        common_voice=[vary_first_names(sentence, seed) for sentence in text.common_voice],
        valid=[vary_first_names(sentence, seed) for sentence in text.valid],
    )


def make_tokenizer(sentences: list[str], vocabulary_size: int) -> Tokenizer:
    """Choose the vocabulary from training sentences."""
    return build_tokenizer(choose_words((cased_words(s) for s in sentences), vocabulary_size))


def encode(tokenizer: Tokenizer, sentences: list[str]) -> Encoded:
    """Number every sentence's words and close it with the end token."""
    end = token_id(tokenizer, SENTENCE_END)
    rows = [encoding.ids for encoding in tokenizer.encode_batch(sentences)]
    starts = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(row) + 1 for row in rows], out=starts[1:])
    ids = np.empty(int(starts[-1]), dtype=np.int32)
    for start, row in zip(starts[:-1], rows, strict=True):
        ids[start : start + len(row)] = row
        ids[start + len(row)] = end
    return Encoded(ids=ids, starts=starts)
